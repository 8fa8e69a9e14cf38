"""Time and money of a plan, against hand-made shots and cards."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import load_catalog
from common.cost import attempt_cost
from common.settings import Money
from common.shot import LoraUse, PlannedShot
from coordinator.estimate import MEASURED, Plan, Station, estimate
from tests.shots import planned, shot_of

CATALOG = load_catalog()
TURBO = CATALOG.models["z-image-turbo"]
DEMO = CATALOG.models["shotfarm-demo"]
RATES = Money()
PASCAL, ADA = Station(card=REFERENCE_CARDS[8]), Station(card=REFERENCE_CARDS[24])
#: Seconds that the reference figures give for a load of the demo model, which weighs almost nothing.
LOAD_S = pytest.approx(5.0, rel=0.01)


def turbo_shots(count: int, **fields: object) -> list[PlannedShot]:
    return [planned(shot_of(TURBO, seed=seed, **fields)) for seed in range(count)]


def plan(shots: list[PlannedShot], *stations: Station, together: bool = False) -> Plan:
    return estimate(shots, CATALOG, stations or (PASCAL, ADA), RATES, together=together)


def test_shots_that_fit_alike_are_one_line_whatever_their_seed_steps_and_loras() -> None:
    uses = [(LoraUse(name, "", 0.8),) for name in ("ana_v2", "bo_v1")]
    shots = [
        planned(shot_of(TURBO, seed=seed, steps=steps, loras=use))
        for seed in range(3)
        for steps in (4, 8)
        for use in uses
    ]
    (line,) = plan(shots).lines
    assert (line.images, line.steps_low, line.steps_high, line.loras, line.lora_sets) == (12, 4, 8, 1, 2)


def test_another_size_group_or_model_is_a_line_of_its_own() -> None:
    shots = [
        *turbo_shots(2),
        *turbo_shots(2, width=512, height=512),
        planned(shot_of(TURBO, seed=9), "other"),
        planned(shot_of(DEMO)),
    ]
    assert [(line.group, line.model, line.images) for line in plan(shots).lines] == [
        ("all", "z-image-turbo", 2),
        ("all", "z-image-turbo", 2),
        ("other", "z-image-turbo", 1),
        ("all", "shotfarm-demo", 1),
    ]


def test_a_shot_that_is_asked_for_twice_is_rendered_once() -> None:
    made = plan([*turbo_shots(3), *turbo_shots(2)])
    assert (made.images, made.duplicates) == (3, 2)


def test_every_card_is_told_how_it_would_take_a_line() -> None:
    (line,) = plan(turbo_shots(1)).lines
    old, new = line.takes
    assert (old.recipe, new.recipe) == ("gguf-q4-fp32", "bf16")
    assert (line.vram_class, old.card, old.basis) == (8, "GTX 1070", "published")
    assert old.seconds
    by_hand = attempt_cost(
        seconds=old.seconds, joules=old.seconds * 150, vram_class=8, terms="owned", rates=RATES
    )
    assert old.cost == pytest.approx(by_hand.farm)


def test_keeping_images_in_the_store_is_part_of_their_cost() -> None:
    storing = RATES.model_copy(update={"storage_per_gb_month": Decimal(2), "traffic_per_gb": Decimal(1)})
    stations = [ADA, replace(PASCAL, terms="volunteer")]
    shots = turbo_shots(4, format="png")
    free, kept = (estimate(shots, CATALOG, stations, rates, together=True).cost for rates in (RATES, storing))
    assert free is not None
    assert kept is not None
    # 1.5 bytes for each pixel, for a year.
    assert float(kept.low - free.low) == pytest.approx(4 * 1024 * 1024 * 1.5 / 1e9 * (12 * 2 + 1))


def test_a_sampler_that_runs_the_denoiser_twice_a_step_is_a_line_of_nearly_twice_the_time() -> None:
    sdxl = CATALOG.models["sdxl"]
    shots = [planned(shot_of(sdxl, sampler=sampler)) for sampler in ("euler", "heun", "unipc")]
    once, twice = plan(shots).lines
    assert (once.images, twice.images) == (2, 1)
    for take, doubled in zip(once.takes, twice.takes, strict=True):
        # Text is encoded and the image decoded once.
        assert 1.8 * (take.seconds or 0) < (doubled.seconds or 0) < 2 * (take.seconds or 0)
        assert doubled.peak_bytes == take.peak_bytes


def test_guidance_doubles_the_time_of_denoising() -> None:
    (plain,) = plan(turbo_shots(1)).lines
    (guided,) = plan(turbo_shots(1, guidance=4.0)).lines
    assert guided.takes[0].seconds == pytest.approx(2 * (plain.takes[0].seconds or 0), rel=0.1)


def test_a_measured_card_is_reckoned_as_measured() -> None:
    measured = Station(card=REFERENCE_CARDS[8], speeds={"z-image-turbo": 2.0})
    made = plan(turbo_shots(1), measured)
    assert made.lines[0].takes[0].seconds == pytest.approx(2.0 * 1.048576 * 8)
    assert made.basis == MEASURED


def test_examples_span_from_the_best_card_to_the_worst() -> None:
    shots = [planned(shot_of(DEMO, seed=seed)) for seed in range(10)]
    made = plan(shots)
    assert made.seconds is not None
    assert made.cost is not None
    takes = made.lines[0].takes
    assert made.seconds.low == pytest.approx(10 * min(take.seconds or 0 for take in takes) + 5.0, rel=0.01)
    costs = [take.cost or 0 for take in takes]
    assert made.cost.low < made.cost.high
    assert made.cost.high > 10 * max(costs)


def test_cards_of_one_farm_share_the_work_by_their_speed() -> None:
    fast = Station(card=REFERENCE_CARDS[8], speeds={"z-image-turbo": 1.0})
    slow = Station(card=REFERENCE_CARDS[8], speeds={"z-image-turbo": 3.0})
    shots = turbo_shots(400)
    alone, both = plan(shots, fast, together=True), plan(shots, fast, slow, together=True)
    image_s = 1.048576 * 8
    load_s = (alone.seconds.low if alone.seconds else 0) - 400 * image_s
    assert both.seconds is not None
    # Three of four images are the fast card's; both load at the same time.
    assert both.seconds.low == both.seconds.high == pytest.approx(300 * image_s + load_s)


def test_a_volunteers_electricity_is_apart_from_the_bill() -> None:
    made = plan(turbo_shots(2), Station(card=REFERENCE_CARDS[24], terms="volunteer"), together=True)
    assert made.cost is not None
    assert made.volunteered is not None
    assert made.cost.high == 0
    assert made.volunteered.low > 0


def test_what_no_card_takes_is_counted_and_explained() -> None:
    shots = [*turbo_shots(2), *turbo_shots(3, width=16384, height=16384)]
    made = plan(shots)
    assert made.unfit == 3
    _, huge = made.lines
    assert huge.vram_class is None
    assert "RTX 4090" in huge.reason
    assert made.seconds is not None


def test_a_model_without_any_figure_has_no_estimate() -> None:
    unknown = replace(TURBO, speeds=())
    catalog = replace(CATALOG, models=CATALOG.models | {TURBO.name: unknown})
    made = estimate(turbo_shots(1), catalog, [ADA], RATES, together=False)
    assert (made.seconds, made.cost) == (None, None)
    assert made.lines[0].vram_class == 24


def test_names_without_a_fixed_identity_are_listed() -> None:
    (line,) = plan(turbo_shots(1, loras=(LoraUse("ana_v2", "", 1.0),))).lines
    assert line.unidentified == ("ana_v2", "z-image-turbo")


def test_an_empty_plan_costs_nothing() -> None:
    made = plan([])
    assert made.images == 0
    assert made.seconds is not None
    assert made.seconds.high == 0


def test_loading_is_counted_once_for_each_model_and_card() -> None:
    made = plan([planned(shot_of(DEMO, seed=seed)) for seed in range(2)], ADA, together=True)
    assert made.seconds is not None
    image_s = made.lines[0].takes[0].seconds or 0
    assert made.seconds.low - 2 * image_s == LOAD_S
    assert made.loading is not None
    assert made.loading.low == made.loading.high == LOAD_S


def test_figures_that_are_not_of_these_cards_say_what_they_rest_on() -> None:
    assert plan([planned(shot_of(DEMO))]).basis == DEMO.speeds[0].source
