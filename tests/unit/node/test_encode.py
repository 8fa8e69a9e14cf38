"""Pixels become files, the same ones each time."""

from __future__ import annotations

import io

import numpy
import pytest
from PIL import Image

from gpu_node.encode import encode_image


@pytest.fixture
def picture() -> Image.Image:
    levels = numpy.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=numpy.uint8)
    return Image.fromarray(levels)


@pytest.mark.parametrize(("format_", "quality"), [("png", 0), ("webp", 90), ("jpeg", 92)])
def test_the_same_pixels_give_the_same_file_of_the_asked_format(
    picture: Image.Image, format_: str, quality: int
) -> None:
    data = encode_image(picture, format_, quality)

    assert encode_image(picture.copy(), format_, quality) == data
    with Image.open(io.BytesIO(data), formats=[format_]) as read:
        assert read.size == picture.size


def test_png_keeps_every_level(picture: Image.Image) -> None:
    with Image.open(io.BytesIO(encode_image(picture, "png", 0))) as read:
        assert read.tobytes() == picture.tobytes()


@pytest.mark.parametrize("format_", ["webp", "jpeg"])
def test_quality_is_heeded(picture: Image.Image, format_: str) -> None:
    assert len(encode_image(picture, format_, 30)) < len(encode_image(picture, format_, 95))


def test_an_unknown_format_is_refused(picture: Image.Image) -> None:
    with pytest.raises(ValueError, match="gif"):
        encode_image(picture, "gif", 0)
