"""The colours that the demo model knows by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (212, 30, 38),
    "orange": (250, 132, 20),
    "yellow": (255, 218, 40),
    "green": (40, 158, 60),
    "teal": (20, 170, 170),
    "blue": (36, 84, 214),
    "purple": (128, 52, 178),
    "pink": (250, 140, 196),
    "brown": (122, 72, 36),
    "black": (24, 24, 28),
    "grey": (142, 144, 150),
    "white": (250, 250, 248),
}

HAIR: dict[str, Colour] = {
    "black": (30, 26, 28),
    "brown": (104, 60, 30),
    "blond": (244, 208, 96),
    "red": (196, 66, 24),
    "grey": (164, 164, 170),
    "pink": (248, 120, 190),
    "blue": (52, 96, 210),
}

SKIN: dict[str, Colour] = {
    "light": (250, 214, 184),
    "tan": (212, 156, 108),
    "dark": (110, 68, 44),
}

#: Least distance (see `distance`) at which two colours side by side are told apart at a glance.
CLEAR = 0.34


def distance(one: Colour, other: Colour) -> float:
    """How different two colours look, from 0 (equal) to about 3 (black and white).

    "Redmean": RGB weighted by how the eye sees each channel, https://www.compuphase.com/cmetric.htm.
    """
    mean_red = (one[0] + other[0]) / 510
    red, green, blue = ((a - b) / 255 for a, b in zip(one, other, strict=True))
    return float(((2 + mean_red) * red**2 + 4 * green**2 + (3 - mean_red) * blue**2) ** 0.5)


def clear(one: Colour, other: Colour) -> bool:
    """Whether an object in one colour stands out on a background in the other."""
    return distance(one, other) >= CLEAR * 3


def mix(one: Colour, other: Colour, part: float) -> Colour:
    """`one` with `part` of the `other` in it."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def shade(colour: Colour) -> Colour:
    """The tone for details on an object: darker, or lighter where the object is dark already.

    Chosen so that the shades of black, grey and white meet no named colour.
    """
    if sum(colour) < 100:
        return mix(colour, (255, 255, 255), 0.3)
    return mix(colour, (0, 0, 0), 0.62 if sum(colour) > 700 else 0.5)


def nearest(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """For each pixel (..., 3) the index of the closest named colour, in the order of `COLOURS`."""
    table = np.array(list(COLOURS.values()), dtype=np.float32)
    values = pixels.astype(np.float32)[..., None, :]
    mean_red = (values[..., 0] + table[:, 0]) / 510
    delta = (values - table) / 255
    weights = np.stack([2 + mean_red, np.full_like(mean_red, 4), 3 - mean_red], axis=-1)
    found: npt.NDArray[np.int64] = np.argmin((weights * delta**2).sum(-1), axis=-1)
    return found
