"""Passes: how many images a card should render at once, of as many as fit it.

Pure. Larger passes than needed cost the farm: none of their images can go to another node, they are finished
together, and all are lost with the node. Two rules make them smaller than what fits: a pass takes a limited
time, and it is as small as it can be without taking longer for each image, by what the node was seen to gain.
At one megapixel most cards gain 0 to 5 % from passes of several images, at a quarter of that much more.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import NamedTuple

#: Seconds of a pass at most.
PASS_S = 120.0
#: Share by which an image may take longer in a smaller pass.
_WORTH = 0.01
#: Images before a curve counts, and weight of the newest: later ones count no less than this.
_ENOUGH, _NEWEST = 20, 1 / 50
#: Spread of the sizes of passes, as a share of their mean, without which they tell nothing.
_SPREAD = 0.05
#: Standard errors that a gain may be larger than measured: images are only taken out of a pass where it is
#: certain that it gains nothing by them.
_DOUBT = 2.0


class PassCurve(NamedTuple):
    """What images of one size took a node in passes of different sizes, as moving averages.

    The time of a pass is a fixed part and one for each denoiser run that shares the card, so that of an image
    is a line over the reciprocal of these runs (ordinary least squares).
    """

    images: int
    #: Reciprocal of the simultaneous denoiser runs, and seconds per megapixel-forward.
    x: float
    y: float
    xx: float
    xy: float
    yy: float


def timed(curve: PassCurve | None, forwards: int, seconds: float) -> PassCurve:
    """The curve after one more image, by the simultaneous forwards of its pass and its seconds for each."""
    x, y = 1 / forwards, seconds
    if curve is None:
        return PassCurve(1, x, y, x * x, x * y, y * y)
    images = curve.images + 1
    weight = max(_NEWEST, 1 / images)
    newest = (x, y, x * x, x * y, y * y)
    return PassCurve(
        images, *(mean + weight * (new - mean) for mean, new in zip(curve[1:], newest, strict=True))
    )


def images_in_time(most: int, image_s: float | None, pass_s: float = PASS_S) -> int:
    """Images of a pass of `pass_s` seconds, `most` at the most; at least one."""
    if not image_s or most * image_s <= pass_s:
        return most
    return max(1, int(pass_s / image_s))


def images_worth(most: int, forwards: int, curve: PassCurve | None) -> int:
    """The smallest pass in which an image takes hardly longer than in the largest one.

    `forwards` is the number of simultaneous denoiser runs for each image. Without enough measurements, or
    where these differ too much to be certain, it is `most`.

    >>> images_worth(4, 1, None)
    4
    """
    if curve is None or curve.images < _ENOUGH:
        return most
    spread = curve.xx - curve.x**2
    if spread <= (_SPREAD * curve.x) ** 2:
        return most
    fixed = (curve.xy - curve.x * curve.y) / spread
    rest = max(0.0, curve.yy - curve.y**2 - fixed**2 * spread)
    fixed = max(0.0, fixed + _DOUBT * sqrt(rest / (min(curve.images, 1 / _NEWEST) * spread)))
    each = curve.y - fixed * curve.x
    if each <= 0:
        return most
    longest = (1 + _WORTH) * (fixed / (most * forwards) + each)
    return min(most, max(1, ceil(fixed / (longest - each) / forwards)))
