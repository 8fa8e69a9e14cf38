"""Passes: as small as they can be without taking longer for each image."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.estimate.passes import PASS_S, PassCurve, images_in_time, images_worth, timed

NOISE = 0.03


def curve(
    fixed: float, passes: Iterable[int], *, forwards: int = 1, seed: int = 1, slow: Iterable[float] = ()
) -> PassCurve | None:
    """What passes show whose time is a fixed part and 1 s for each forward, with noise as on real cards."""
    chance, found = random.Random(seed), None
    slowness = dict(enumerate(slow))
    for number, images in enumerate(passes):
        at_once = images * forwards
        pass_s = (fixed + at_once) * (1 + chance.expovariate(1 / NOISE)) * slowness.get(number, 1.0)
        for _ in range(images):
            found = timed(found, at_once, pass_s / at_once)
    return found


def mixed(passes: int, most: int, *, smaller: float = 0.3, seed: int = 1) -> list[int]:
    """Mostly the largest, and now and then what is left of a batch."""
    chance = random.Random(seed)
    return [chance.randint(1, most) if chance.random() < smaller else most for _ in range(passes)]


@pytest.mark.parametrize("seed", range(20))
def test_a_card_that_gains_nothing_renders_smaller_passes(seed: int) -> None:
    known = curve(0.0, mixed(60, 8, seed=seed), seed=seed)
    assert images_worth(8, 1, known) < 8


@pytest.mark.parametrize("fixed", [1.0, 3.0, 20.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_card_that_gains_much_renders_the_largest_that_fit(fixed: float, seed: int) -> None:
    known = curve(fixed, mixed(60, 8, seed=seed), seed=seed)
    assert images_worth(8, 1, known) == 8


@pytest.mark.parametrize("seed", range(20))
def test_guidance_keeps_a_card_as_busy_as_twice_the_images(seed: int) -> None:
    known = curve(0.1, mixed(200, 12, seed=seed), seed=seed)
    plain, guided = images_worth(12, 1, known), images_worth(12, 2, known)
    assert guided < plain <= 12


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_phase_makes_no_pass_smaller_that_is_worth_it(seed: int) -> None:
    """Somebody plays while smaller passes or larger ones are rendered."""
    large_first = curve(3.0, [8] * 10 + [2] * 10, seed=seed, slow=[1.0] * 10 + [3.0] * 10)
    small_first = curve(3.0, [2] * 10 + [8] * 10, seed=seed, slow=[1.0] * 10 + [3.0] * 10)
    later = curve(3.0, [2] * 10 + [8] * 10 + mixed(60, 8, seed=seed), seed=seed, slow=[3.0] * 10)
    assert images_worth(8, 1, large_first) == images_worth(8, 1, later) == 8
    assert small_first is not None


def test_passes_of_one_size_tell_nothing() -> None:
    assert images_worth(8, 1, None) == 8
    assert images_worth(8, 1, curve(0.0, [8] * 40)) == 8
    assert images_worth(8, 1, curve(0.0, [1, 8])) == 8


@given(
    most=st.integers(1, 12),
    forwards=st.integers(1, 2),
    images=st.lists(st.tuples(st.integers(1, 24), st.floats(1e-3, 1e3)), max_size=60),
)
def test_whatever_was_measured_a_pass_has_an_image_and_fits(
    most: int, forwards: int, images: list[tuple[int, float]]
) -> None:
    known = None
    for at_once, seconds in images:
        known = timed(known, at_once, seconds)
    assert 1 <= images_worth(most, forwards, known) <= most


@given(most=st.integers(1, 12), image_s=st.floats(1e-3, 1e4), pass_s=st.floats(1.0, 1e3))
def test_a_pass_ends_in_time_unless_one_image_takes_longer(most: int, image_s: float, pass_s: float) -> None:
    images = images_in_time(most, image_s, pass_s)
    assert images == 1 or images * image_s <= pass_s
    assert images == most or (images + 1) * image_s > pass_s


def test_a_pass_of_unknown_length_is_the_largest() -> None:
    assert images_in_time(12, None) == 12
    assert images_in_time(12, 0.5) == 12
    assert images_in_time(12, PASS_S) == 1
