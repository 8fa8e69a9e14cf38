"""Perceptual hashes: what an image shows, in few bits that small differences do not change.

The discrete cosine transform of the small grey image, and which of its low frequencies are above their median
(C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Frequencies and pixels along an edge: of the coarse and of the fine part.
_PARTS = ((8, 32), (24, 48))


def perceptual_hash(picture: Image.Image) -> str:
    """64 bits of coarse structure and 576 of finer one, as 160 hexadecimal digits."""
    grey = picture.convert("L")
    return "".join(_digits(grey, edge, size) for edge, size in _PARTS)


def _digits(grey: Image.Image, edge: int, size: int) -> str:
    pixels = np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float64)
    cosines = _cosines(edge, size)
    low = cosines @ pixels @ cosines.T
    return np.packbits(low > np.median(low)).tobytes().hex()


@cache
def _cosines(frequencies: int, size: int) -> NDArray[np.float64]:
    """Rows of the cosine transform of so many samples: `frequencies` × `size`."""
    angles = np.outer(np.arange(frequencies), np.arange(size) + 0.5) * np.pi / size
    return np.cos(angles)
