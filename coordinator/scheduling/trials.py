"""Trials: what an idle node measured of recipes, as far as it is plausible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from common.catalog import Catalog
from common.fit import Peak, fitting, forwards_at_once, plain_shot
from common.messages import RecipePace
from common.nodes import Card
from coordinator.estimate import pace, plain_pace, shape
from coordinator.scheduling.work import Size

#: Estimates are good to a factor of two; by more than this one, something else was measured.
_PLAUSIBLE = 20.0


class MeasuredTrial(NamedTuple):
    """One image of a model's usual size and settings."""

    size: Size
    recipe: str
    #: Per megapixel-forward.
    seconds: float
    #: Of the pass of this image; None: not measured.
    peak: Peak | None
    #: See `Placement.shape`.
    shape: float = 1.0


def plausible(told: Iterable[RecipePace], card: Card, catalog: Catalog) -> Iterator[MeasuredTrial]:
    """Yields what such a card can have measured: recipes that fit, near the estimate if there is one."""
    for one in told:
        model = catalog.models.get(one.model)
        if model is None:
            continue
        shot = plain_shot(model)
        found = next((each for each in fitting(shot, model, card) if each.recipe.name == one.recipe), None)
        if found is None:
            continue
        estimated_s = pace(shot, model, found, card)
        near_s = estimated_s or one.seconds
        if near_s / _PLAUSIBLE <= one.seconds <= near_s * _PLAUSIBLE:
            peak = one.peak_bytes and Peak(forwards_at_once(shot, model), one.peak_bytes)
            size = model.name, shot.width, shot.height
            relative = shape(estimated_s, plain_pace(model, card))
            yield MeasuredTrial(size, one.recipe, one.seconds, peak or None, relative)
