"""Pixels become files, the same ones each time."""

from __future__ import annotations

import io
import queue
from pathlib import Path
from typing import cast

import numpy
import pytest
from PIL import Image

from common.infotext import SHOT_TAG
from gpu_node import protocol
from gpu_node.engine.encode import Saver, encode_image
from tests.engine_talk import shot

SHOT_ID = "ab" * 32


@pytest.fixture
def picture() -> Image.Image:
    levels = numpy.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=numpy.uint8)
    return Image.fromarray(levels)


def encoded(image: Image.Image, format_: str, quality: int) -> bytes:
    return encode_image(image, format_, quality, shot_id=SHOT_ID)


@pytest.mark.parametrize(("format_", "quality"), [("png", 0), ("webp", 90), ("jpeg", 92)])
def test_the_same_pixels_give_the_same_file_of_the_asked_format(
    picture: Image.Image, format_: str, quality: int
) -> None:
    data = encoded(picture, format_, quality)

    assert encoded(picture.copy(), format_, quality) == data
    with Image.open(io.BytesIO(data), formats=[format_]) as read:
        assert read.size == picture.size


def test_png_keeps_every_level(picture: Image.Image) -> None:
    with Image.open(io.BytesIO(encoded(picture, "png", 0))) as read:
        assert read.tobytes() == picture.tobytes()


@pytest.mark.parametrize("format_", ["webp", "jpeg"])
def test_quality_is_heeded(picture: Image.Image, format_: str) -> None:
    assert len(encoded(picture, format_, 30)) < len(encoded(picture, format_, 95))


def test_an_unknown_format_is_refused(picture: Image.Image) -> None:
    with pytest.raises(ValueError, match="gif"):
        encoded(picture, "gif", 0)


@pytest.mark.parametrize("format_", ["png", "webp", "jpeg"])
def test_a_file_names_its_shot(picture: Image.Image, format_: str) -> None:
    with Image.open(io.BytesIO(encoded(picture, format_, 90))) as read:
        assert read.getexif()[SHOT_TAG] == SHOT_ID


def test_a_picture_that_cannot_be_encoded_fails_its_shot_whatever_the_trouble(tmp_path: Path) -> None:
    said: queue.SimpleQueue[protocol.Event] = queue.SimpleQueue()
    no_picture = cast(Image.Image, object())
    Saver(tmp_path, said.put).save(SHOT_ID, shot(), no_picture)

    failed = said.get(timeout=60)
    assert isinstance(failed, protocol.Failed)
    assert (failed.shot_id, failed.kind) == (SHOT_ID, "render_error")
