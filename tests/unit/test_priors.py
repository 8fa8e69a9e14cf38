"""Times of models on cards that no node has measured: by chip, never slower for better rates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cards import REFERENCE_CARDS
from common.catalog import CPU, Model, load_catalog
from common.chips import Chip, find_chip, known_chips
from common.fit import Fit, Misfit, fit, fitting, plain_shot
from common.nodes import Card
from coordinator.estimate.priors import Prior, _beside, _curve, prior

CATALOG = load_catalog()
MODELS = [model for model in CATALOG.models.values() if any(speed.card != CPU for speed in model.speeds)]
CHIPS = list(known_chips().values())


def card(name: str) -> Card:
    chip = find_chip(name)
    assert chip is not None
    return chip.card()


def estimated(model: str, on: Card, steps: int | None = None) -> Prior:
    entry = CATALOG.models[model]
    shot = plain_shot(entry)
    found = fit(shot, entry, on)
    assert isinstance(found, Fit)
    known = prior(shot, entry, found, on, steps or entry.steps)
    assert known is not None
    return known


def fits_of(model: Model) -> list[Fit]:
    """Each recipe of a model, as if it fitted."""
    return [
        Fit(recipe=recipe, peak_bytes=1, pass_size=size, pass_peak_bytes=1)
        for recipe in model.recipes
        for size in (1, 12)
    ]


def seconds(model: Model, found: Fit, chip: Chip) -> float:
    speeds = tuple(speed for speed in model.speeds if speed.card != CPU)
    pace = _curve(speeds, model.family.tflop_per_mp).seconds(chip, found.recipe.compute_dtype)
    return pace * 10 + _beside(plain_shot(model), model, found, chip)


def rates(chip: Chip) -> tuple[float, ...]:
    return (chip.fp32, chip.rate("float16"), chip.rate("bfloat16"), chip.bandwidth)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_known_chip_with_all_rates_at_least_as_high_is_never_slower(model: Model) -> None:
    for found in fits_of(model):
        times = [seconds(model, found, chip) for chip in CHIPS]
        for slow, slow_s in zip(CHIPS, times, strict=True):
            for fast, fast_s in zip(CHIPS, times, strict=True):
                if all(a >= b for a, b in zip(rates(fast), rates(slow), strict=True)):
                    assert fast_s <= slow_s * (1 + 1e-9), (fast.name, slow.name, found.recipe.name)


_RATE = st.floats(0.5, 5000)
_BETTER = st.floats(1, 50)


@given(
    model=st.sampled_from(MODELS),
    rate=st.tuples(_RATE, _RATE, _RATE, _RATE),
    better=st.tuples(_BETTER, _BETTER, _BETTER, _BETTER),
)
def test_an_imaginary_chip_with_better_rates_is_never_slower(
    model: Model, rate: tuple[float, ...], better: tuple[float, ...]
) -> None:
    names = ("fp32", "fp16", "bf16", "bandwidth")
    slow = replace(CHIPS[0], **dict(zip(names, rate, strict=True)))
    fast = replace(slow, **{name: getattr(slow, name) * by for name, by in zip(names, better, strict=True)})
    for found in fits_of(model):
        assert 0 < seconds(model, found, fast) <= seconds(model, found, slow) * (1 + 1e-9)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_every_chip_that_takes_a_model_has_a_time_and_what_it_rests_on(chip: Chip) -> None:
    for model in CATALOG.models.values():
        shot, on = plain_shot(model), chip.card()
        found = fit(shot, model, on)
        if not isinstance(found, Misfit):
            known = prior(shot, model, found, on, model.steps)
            assert known is not None
            assert known.seconds > 0
            assert known.basis


@pytest.mark.parametrize(
    ("name", "steps", "low", "high"),
    [
        # ComfyUI; an RTX 3090 takes 1.76 s a step.
        ("GTX 1070", 9, 240, 330),
        ("RTX 3090", 8, 14, 16),
    ],
)
def test_z_image_turbo_takes_what_is_published(name: str, steps: int, low: float, high: float) -> None:
    known = estimated("z-image-turbo", card(name), steps)
    assert low <= known.seconds <= high
    assert known.published is not None
    assert known.basis == "published"
    assert known.origin == (name,)
    assert known.source


@pytest.mark.parametrize(
    ("name", "recipe", "low", "high"),
    [
        # Tongyi-MAI/Z-Image issue 153 and forge-classic issue 651.
        ("RTX 3060", "fp8", 24, 45),
        ("RTX 3060", "int8", 2.5 * 9, 45),
        ("RTX 3090", "int8", 1.09 * 9, 1.76 * 9),
        # Fp32 takes 11 s a step, fp16 with rescaling 2.5 s: forge-classic issue 460.
        ("RTX 2060 12GB", "int8-fp32", 2.5 * 9, 11 * 9),
    ],
)
def test_int8_is_planned_between_what_is_published_with_and_without_it(
    name: str, recipe: str, low: float, high: float
) -> None:
    entry = CATALOG.models["z-image-turbo"]
    shot = plain_shot(entry)
    (found,) = (one for one in fitting(shot, entry, card(name)) if one.recipe.name == recipe)
    known = prior(shot, entry, found, card(name), 9)
    assert known is not None
    assert low <= known.seconds <= high
    assert (known.published is None) == recipe.startswith("int8")


def test_cards_are_planned_by_their_chip_and_not_by_their_memory() -> None:
    """An RTX 3080 with 10 GB is in the class of a GTX 1070, and a P40 in that of an RTX 4090."""
    pascal, ampere = (
        estimated("z-image-turbo", card("gtx-1070")),
        estimated("z-image-turbo", card("rtx-3080")),
    )
    assert pascal.seconds > 8 * ampere.seconds
    old, ada = estimated("z-image-turbo", card("p40")), estimated("z-image-turbo", card("rtx-4090"))
    assert old.seconds > 8 * ada.seconds
    assert (ampere.basis, set(ampere.origin)) == ("interpolated", {"RTX 3060", "RTX 3090"})


def test_an_unknown_card_is_planned_like_a_similar_one() -> None:
    reference = REFERENCE_CARDS[12]
    stranger = replace(reference, name="Fantasy 1")
    known = estimated("z-image-turbo", stranger)
    assert known.seconds > 0
    assert known.origin
    assert estimated("z-image-turbo", replace(card("gtx-1070"), name="?")).seconds > 100


def test_a_time_that_no_chip_can_reach_is_planned_at_what_it_can() -> None:
    """An RTX 4090 has 165 TFLOPS in bfloat16; 2.3 s for 8 steps would need 195."""
    known = estimated("z-image-turbo", card("rtx-4090"), 8)
    assert known.published is not None
    assert known.seconds > known.published[1]


def test_text_decoding_and_transfers_are_part_of_the_time() -> None:
    model = CATALOG.models["flux2-klein-4b"]
    on = card("gtx-1070")
    found = fit(plain_shot(model), model, on)
    assert isinstance(found, Fit)
    none = prior(plain_shot(model), model, found, on, 0)
    assert none is not None
    # 512 tokens through 4 billion parameters on the CPU.
    assert 10 < none.seconds < 30


def test_a_model_with_times_of_the_cpu_alone_takes_them_everywhere() -> None:
    demo = CATALOG.models["shotfarm-demo"]
    posing = replace(REFERENCE_CARDS[8], backend="cpu", compute_capability=None)
    assert (
        estimated("shotfarm-demo", posing).seconds == estimated("shotfarm-demo", REFERENCE_CARDS[24]).seconds
    )
    assert estimated("shotfarm-demo", posing).basis == demo.speeds[0].source


def test_a_model_without_times_has_no_estimate() -> None:
    model = replace(CATALOG.models["sdxl"], speeds=())
    on = card("rtx-3060")
    found = fit(plain_shot(model), model, on)
    assert isinstance(found, Fit)
    assert prior(plain_shot(model), model, found, on, 25) is None


def test_a_model_of_a_family_is_timed_by_its_parameters() -> None:
    small, large = (
        estimated("flux2-klein-4b", card("rtx-4090")),
        estimated("flux2-klein-9b", card("rtx-4090")),
    )
    assert 2 < large.seconds / small.seconds < 3
