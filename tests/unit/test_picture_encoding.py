import io
import json
from xml.etree import ElementTree

import pytest
from PIL import Image

from common.shot import Shot
from coordinator.pictures.encode import encoded
from coordinator.pictures.marks import MARK, has_mark

PICTURE = Image.radial_gradient("L").resize((64, 48)).convert("RGB")
INFOTEXT = "ein grüner Becher 茶\nSteps: 9"
RECORD = json.dumps({"prompt": "a <b> & 茶"}, ensure_ascii=False)


def shot(image_format: str, *, metadata: bool = True) -> Shot:
    return Shot(
        model="m", model_identity="sha256:00", prompt="p", negative="", seed=1, width=64, height=48, steps=1,
        guidance=0.0, sampler="euler", format=image_format, quality=0 if image_format == "png" else 90,
        metadata=metadata,
    )  # fmt: skip


def reopened(image_format: str, *, metadata: bool = True) -> Image.Image:
    data = encoded(PICTURE, shot(image_format, metadata=metadata), infotext=INFOTEXT, record=RECORD)
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_a_png_keeps_every_pixel_and_carries_both_texts():
    image = reopened("png")
    assert image.tobytes() == PICTURE.tobytes()
    assert image.info["parameters"] == INFOTEXT
    assert image.info["shotfarm"] == RECORD


@pytest.mark.parametrize("image_format", ["webp", "jpeg"])
def test_webp_and_jpeg_carry_both_texts_where_readers_look(image_format: str):
    image = reopened(image_format)
    assert image.format == image_format.upper()
    comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
    xmp = image.info["xmp"].decode()
    assert "a &lt;b&gt; &amp; 茶" in xmp


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_without_metadata_nothing_but_the_picture_and_the_mark_is_stored(image_format: str):
    image = reopened(image_format, metadata=False)
    assert not {"parameters", "shotfarm", "exif", "comment", "icc_profile"} & set(image.info)
    assert image.info["xmp"] == MARK


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_every_picture_says_that_a_model_made_it(image_format: str, metadata: bool):
    data = encoded(PICTURE, shot(image_format, metadata=metadata), infotext=INFOTEXT, record=RECORD)
    assert has_mark(data)
    xmp = Image.open(io.BytesIO(data)).info["xmp"]
    root = ElementTree.fromstring(xmp.partition(b"?>")[2].rpartition(b"<?")[0])
    said = root.findall(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert [one.text for one in said] == [
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    ]


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_the_same_picture_gives_the_same_bytes(image_format: str):
    first, second = (
        encoded(PICTURE.copy(), shot(image_format), infotext=INFOTEXT, record=RECORD) for _ in range(2)
    )
    assert first == second


def test_a_text_too_long_for_a_jpeg_segment_is_left_out_but_not_the_mark():
    data = encoded(PICTURE, shot("jpeg"), infotext="p" * 40_000, record="r" * 70_000)
    image = Image.open(io.BytesIO(data))
    assert "exif" not in image.info
    assert image.info["xmp"] == MARK
