"""An image in another size: cropped or padded to its aspect, then scaled by Lanczos."""

from __future__ import annotations

from statistics import median_low

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.exports import BORDER, Export

Energy = npt.NDArray[np.int64]

#: Pixels of the longer side at which the detail of an image is measured.
_SEEN = 256
#: Windows that hold this share of the detail of the best one count as equally good.
_AS_GOOD = 0.99


def framed(picture: Image.Image, export: Export) -> Image.Image:
    """`picture` (RGB) in the size of the export."""
    size = export.size_of(*picture.size)
    if export.crop == "pad":
        return _padded(picture, size, export.background or BORDER)
    box = _window(picture, size, smart=export.crop != "center")
    return picture.resize(size, Image.Resampling.LANCZOS, box=box)


def _padded(picture: Image.Image, size: tuple[int, int], background: str) -> Image.Image:
    """The whole picture in the middle of a canvas."""
    factor = min(size[0] / picture.width, size[1] / picture.height)
    inner = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    colour = _border(picture) if background == BORDER else _rgb(background)
    canvas = Image.new("RGB", size, colour)
    at = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas.paste(picture.resize(inner, Image.Resampling.LANCZOS), at)
    return canvas


def _rgb(digits: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _border(picture: Image.Image) -> tuple[int, int, int]:
    """The median colour of the outermost pixels, which a subject that touches the border does not change."""
    pixels = np.asarray(picture)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (median_low(edge[:, channel].tolist()) for channel in range(3))
    return red, green, blue


def _window(picture: Image.Image, size: tuple[int, int], *, smart: bool) -> tuple[float, float, float, float]:
    """The largest part of the picture with the aspect of `size`: left, top, right, bottom in pixels."""
    width, height = picture.size
    factor = max(size[0] / width, size[1] / height)
    wide, high = min(width, size[0] / factor), min(height, size[1] / factor)
    left, top = (width - wide) / 2, (height - high) / 2
    if smart and wide < width:
        left = _best_start(_detail(picture, across=True), wide / width) * (width - wide)
    elif smart and high < height:
        top = _best_start(_detail(picture, across=False), high / height) * (height - high)
    return left, top, left + wide, top + high


def _detail(picture: Image.Image, *, across: bool) -> Energy:
    """Edge energy of each column (`across`) or row of a small grey copy: squared differences of neighbours.

    Integers, so that it is the same on every machine; squared, so that edges count and noise does not.
    """
    factor = min(1.0, _SEEN / max(picture.size))
    small = max(2, round(picture.width * factor)), max(2, round(picture.height * factor))
    grey = np.asarray(picture.convert("L").resize(small, Image.Resampling.BOX), dtype=np.int64)
    energy: Energy = np.zeros_like(grey)
    energy[:, 1:] += np.diff(grey, axis=1) ** 2
    energy[1:, :] += np.diff(grey, axis=0) ** 2
    sums: Energy = energy.sum(axis=0 if across else 1)
    return sums


def _best_start(detail: Energy, share: float) -> float:
    """Where the window of a `share` of the length begins, from 0 (first) to 1 (last).

    Of all windows that are as good as the best, the middle one: it shows a subject that fits into it in its
    centre, and of a picture without a subject the centre.
    """
    length = max(1, round(len(detail) * share))
    sums = np.concatenate([[0], np.cumsum(detail)])
    held = sums[length:] - sums[:-length]
    good = np.flatnonzero(held >= held.max() * _AS_GOOD)
    return float(median_low(good.tolist())) / max(1, len(held) - 1)
