"""Trials: what an idle node measured of recipes, as far as it is plausible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from common.catalog import Catalog
from common.fit import Peak, fitting, forwards_at_once, plain_shot
from common.messages import RecipePace
from common.nodes import Card
from common.work import work_of
from coordinator.estimate import prior
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


def plausible(told: Iterable[RecipePace], card: Card, catalog: Catalog) -> Iterator[MeasuredTrial]:
    """Yields what such a card can have measured: recipes that fit, near the estimate if there is one."""
    for pace in told:
        model = catalog.models.get(pace.model)
        if model is None:
            continue
        shot = plain_shot(model)
        found = next((one for one in fitting(shot, model, card) if one.recipe.name == pace.recipe), None)
        if found is None:
            continue
        estimate = prior(shot, model, found, card, shot.steps)
        estimated_s = estimate.seconds / work_of(shot, model).amount if estimate else pace.seconds
        if estimated_s / _PLAUSIBLE <= pace.seconds <= estimated_s * _PLAUSIBLE:
            peak = pace.peak_bytes and Peak(forwards_at_once(shot, model), pace.peak_bytes)
            yield MeasuredTrial(
                (model.name, shot.width, shot.height), pace.recipe, pace.seconds, peak or None
            )
