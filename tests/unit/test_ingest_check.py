import hashlib
import io
import struct
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.failures import FAILURES
from common.shot import Shot
from coordinator.ingest.check import Refusal, checked

SHOT = Shot(
    model="m", model_identity="sha256:00", prompt="p", negative="", seed=1, width=64, height=48,
    steps=1, guidance=0.0, sampler="euler",
)  # fmt: skip


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.radial_gradient("L").resize(size).convert("RGB")


def png(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def check(data: bytes) -> Image.Image | Refusal:
    return checked(data, SHOT, sha256=hashlib.sha256(data).hexdigest())


def declaring(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its data does not have."""
    data = bytearray(png(picture()))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def animation() -> bytes:
    out = io.BytesIO()
    frames = [picture(), picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(45)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def gif() -> bytes:
    out = io.BytesIO()
    picture().save(out, "GIF")
    return out.getvalue()


def test_a_good_picture_passes_with_its_pixels():
    answer = check(png(picture()))
    assert isinstance(answer, Image.Image)
    assert answer.tobytes() == picture().tobytes()


def test_nothing_but_pixels_passes():
    info = PngInfo()
    info.add_text("parameters", "a secret")
    answer = check(png(picture().convert("RGBA"), pnginfo=info, icc_profile=b"x" * 100))
    assert isinstance(answer, Image.Image)
    assert (answer.mode, answer.info) == ("RGB", {})


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (png(picture())[:-200], "not_an_image"),
        (b"", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (gif(), "not_an_image"),
        (animation(), "not_an_image"),
        (png(picture((48, 64))), "wrong_image"),
        (declaring(60_000, 60_000), "wrong_image"),
        (declaring(65, 48), "wrong_image"),
        (png(Image.new("RGB", (64, 48))), "blank_image"),
        (png(Image.new("RGB", (64, 48), (200, 30, 30))), "blank_image"),
    ],
    ids=["truncated", "empty", "svg", "gif", "animated", "turned", "bomb", "a pixel more", "black", "flat"],
)
def test_what_is_not_the_picture_is_refused_by_kind(data: bytes, failure: str):
    answer = check(data)
    assert isinstance(answer, Refusal)
    assert answer.failure == failure
    assert answer.failure in FAILURES
    assert answer.message


def test_other_bytes_than_reported_are_refused():
    answer = checked(png(picture()), SHOT, sha256="0" * 64)
    assert answer == Refusal("wrong_image", "the uploaded bytes do not have the hash that was reported")
