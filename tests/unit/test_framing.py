"""Exports of a picture: the size asked for, and the part of the picture that matters in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageStat

from common.exports import Export
from coordinator.pictures.framing import framed


def product(at: tuple[int, int], size: tuple[int, int] = (400, 300), ground: str = "#eee8dd") -> Image.Image:
    """A chequered square of 80 pixels whose left upper corner is `at`, on a plain ground."""
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((at[0], at[1], at[0] + 79, at[1] + 79), fill="#203050")
    pen.rectangle((at[0] + 20, at[1] + 20, at[0] + 59, at[1] + 59), fill="#e04030")
    return picture


def export(width: int, height: int, **changes: Any) -> Export:
    return Export(name="x", width=width, height=height, crop="smart").model_copy(update=changes)


def red(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """The box of what is red in it, which is 40 pixels wide and high before scaling."""
    red, _, blue = picture.split()
    return ImageChops.subtract(red, blue).point(lambda value: 255 * (value > 90)).getbbox()


@pytest.mark.parametrize("at", [(0, 110), (60, 110), (160, 110), (320, 110)])
def test_a_smart_crop_shows_the_whole_subject_as_far_in_the_middle_as_the_picture_allows(
    at: tuple[int, int],
) -> None:
    # Of the windows of 150 pixels in which all of its 80 are, the middle one.
    box = red(framed(product(at), export(150, 300)))
    assert box is not None
    assert box[2] - box[0] == pytest.approx(40, abs=2)
    left = (max(at[0] + 80 - 150, 0) + min(at[0], 250)) / 2
    assert box[0] == pytest.approx(at[0] + 20 - left, abs=4)


def test_a_smart_crop_follows_the_subject_upwards_too() -> None:
    box = red(framed(product((160, 10), size=(400, 400)), export(400, 120)))
    assert box is not None
    assert box[3] - box[1] == pytest.approx(40, abs=2)


def test_a_picture_with_as_much_detail_everywhere_is_cropped_in_the_centre() -> None:
    """A ramp under a fine pattern: the shade tells which part of it is seen."""
    picture = Image.new("RGB", (240, 80))
    picture.putdata([(x // 3 + 90 * (x % 2), 0, 0) for _ in range(80) for x in range(240)])
    smart, center = (framed(picture, export(80, 80, crop=crop)) for crop in ("smart", "center"))
    shades = [ImageStat.Stat(each).mean[0] for each in (smart, center)]
    assert shades[0] == pytest.approx(shades[1], abs=2)


def test_a_padded_picture_is_whole_and_continues_its_border() -> None:
    padded = framed(product((160, 110)), export(300, 300, crop="pad", background="border"))
    assert padded.getpixel((150, 5)) == padded.getpixel((150, 295)) == (0xEE, 0xE8, 0xDD)
    box = red(padded)
    assert box is not None
    assert (box[2] - box[0], box[3] - box[1]) == pytest.approx((30, 30), abs=2)
    white = framed(product((160, 110)), export(300, 300, crop="pad", background="ffffff"))
    assert white.getpixel((150, 5)) == (255, 255, 255)


def test_a_subject_at_the_border_does_not_colour_the_padding() -> None:
    padded = framed(product((0, 0)), export(500, 300, crop="pad", background="border"))
    assert padded.getpixel((5, 150)) == (0xEE, 0xE8, 0xDD)


def test_a_factor_keeps_the_aspect() -> None:
    assert framed(product((0, 0)), Export(name="2x", scale=2)).size == (800, 600)
    assert framed(product((0, 0)), Export(name="half", scale=0.5)).size == (200, 150)


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(16, 90), st.integers(16, 90)),
    st.sampled_from(["smart", "center", "pad"]),
)
def test_any_picture_becomes_any_size(size: tuple[int, int], to: tuple[int, int], crop: str) -> None:
    picture = Image.radial_gradient("L").resize(size).convert("RGB")
    assert framed(picture, export(*to, crop=crop)).size == to
