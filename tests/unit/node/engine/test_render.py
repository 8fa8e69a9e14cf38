"""What becomes of the pixels of a pass: a picture, or the kind of failure that they show."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from common.failures import FAILURES, Blame
from gpu_node.engine.render import _picture
from gpu_node.errors import RenderError
from tests.engine_talk import shot

_ORDERED = shot(width=64, height=128)


def _pixels(low: float, high: float, *, width: int = 64) -> Any:
    """A ramp between two levels."""
    return numpy.linspace(low, high, 128 * width * 3).reshape(128, width, 3)


def test_pixels_of_the_shots_size_are_a_picture() -> None:
    picture = _picture(_pixels(0, 1), True, _ORDERED)
    assert not isinstance(picture, RenderError)
    assert picture.size == (64, 128)


@pytest.mark.parametrize(
    ("pixels", "finite", "kind"),
    [
        (_pixels(0, 1), False, "not_a_number"),
        (_pixels(0, float("nan")), True, "not_a_number"),
        (_pixels(0, 0.004), True, "black_image"),
        (_pixels(0.5, 0.504), True, "flat_image"),
        (_pixels(0, 1, width=56), True, "unsupported_size"),
    ],
)
def test_what_is_no_picture_has_a_kind_of_its_own(pixels: Any, finite: bool, kind: str) -> None:
    refused = _picture(pixels, finite, _ORDERED)
    assert isinstance(refused, RenderError)
    assert refused.kind == kind
    assert FAILURES[kind].blame is Blame.SHOT
