"""Pictures to tensors and back to what people look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def as_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures as bytes, (N, 3, H, W)."""
    return (
        torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        .permute(0, 3, 1, 2)
        .contiguous()
    )


def batches(images: Tensor, count: int) -> list[Tensor]:
    """The same pictures, at most `count` at a time."""
    return [images[start : start + count] for start in range(0, len(images), count)]


def grid(pictures: Sequence[Image.Image], columns: int, gap: int = 4) -> Image.Image:
    """Pictures of one size side by side, row by row."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), (255, 255, 255))
    for at, picture in enumerate(pictures):
        row, column = divmod(at, columns)
        sheet.paste(picture, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet
