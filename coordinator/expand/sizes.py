"""Sizes in pixels, rounded to what a model takes."""

from __future__ import annotations

from math import sqrt

from common.catalog import Model
from common.manifest.model import Size

#: Pixels of "1 megapixel" in a manifest: 1024×1024, as models and other programs mean it.
MEGAPIXEL = 1024 * 1024


def pixels(size: Size | None, model: Model) -> tuple[int, int]:
    """Width and height, each the nearest multiple that the model's family takes.

    An aspect without an area has the area of the model's own size, and the other way round.
    """
    if size is None:
        return model.size
    if size.width and size.height:
        return rounded(size.width, model), rounded(size.height, model)
    own_width, own_height = model.size
    wide, high = size.aspect or model.size
    area = size.megapixels * MEGAPIXEL if size.megapixels else own_width * own_height
    return rounded(sqrt(area * wide / high), model), rounded(sqrt(area * high / wide), model)


def rounded(side: float, model: Model) -> int:
    """The nearest multiple, the larger of two that are equally near."""
    multiple = model.family.size_multiple
    return max(multiple, int(side / multiple + 0.5) * multiple)


def spelled(size: Size) -> str:
    """A size as a person writes it."""
    if size.width and size.height:
        return f"{size.width}x{size.height}"
    aspect = f"{size.aspect[0]:g}:{size.aspect[1]:g}" if size.aspect else "the model's aspect"
    return f"{aspect} at {size.megapixels:g} MP" if size.megapixels else aspect
