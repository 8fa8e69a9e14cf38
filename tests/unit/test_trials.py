"""What idle nodes say that they measured: only what such a card can have."""

from __future__ import annotations

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import load_catalog
from common.fit import Fit, Seen, fit, plain_shot
from common.messages import RecipePace
from common.work import work_of
from coordinator.estimate import prior
from coordinator.scheduling.placing import Placement, placing
from coordinator.scheduling.trials import plausible

CATALOG = load_catalog()
SDXL = CATALOG.models["sdxl"]
SHOT = plain_shot(SDXL)
CARD = REFERENCE_CARDS[12]
FITTING = fit(SHOT, SDXL, CARD)
assert isinstance(FITTING, Fit)
ESTIMATE = prior(SHOT, SDXL, FITTING, CARD, SHOT.steps)
assert ESTIMATE is not None
PACE_S = ESTIMATE.seconds / work_of(SHOT, SDXL).amount


def told(seconds: float, *, model: str = "sdxl", recipe: str = "fp16") -> list[RecipePace]:
    return [RecipePace(model=model, recipe=recipe, seconds=seconds, peak_bytes=5 << 30)]


@pytest.mark.parametrize("factor", [0.06, 0.5, 1, 2, 18])
def test_a_time_near_the_estimate_counts(factor: float) -> None:
    (trial,) = plausible(told(PACE_S * factor), CARD, CATALOG)

    assert (trial.size, trial.recipe) == (("sdxl", 1024, 1024), "fp16")
    assert trial.seconds == PACE_S * factor
    assert trial.peak == (2, 5 << 30)


@pytest.mark.parametrize(
    "paces",
    [
        told(PACE_S / 25),
        told(PACE_S * 25),
        told(PACE_S, recipe="int4"),
        told(PACE_S, model="unknown"),
        # It needs 24 GB.
        told(PACE_S, model="flux1-dev", recipe="bf16"),
    ],
)
def test_what_such_a_card_cannot_have_measured_is_ignored(paces: list[RecipePace]) -> None:
    assert not list(plausible(paces, CARD, CATALOG))


def test_work_is_planned_with_the_fastest_recipe_and_the_time_that_it_took() -> None:
    found = placing(CATALOG)(SHOT, CARD, Seen(paces={"fp16": 0.5, "fp16-small": 0.4}))

    assert isinstance(found, Placement)
    assert (found.recipe, found.pace_s) == ("fp16-small", 0.4)
