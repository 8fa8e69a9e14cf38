"""Placing: how fast a card takes a shot, and with how much energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from common.catalog import Model, load_catalog
from common.chips import known_chips
from common.fit import Seen, plain_shot
from coordinator.scheduling.placing import Placement, placing

CATALOG = load_catalog()


def placement(chip: str, model: str = "z-image-turbo", **fields: str) -> Placement:
    shot = plain_shot(CATALOG.models[model])
    found = placing(CATALOG)(shot, replace(known_chips()[chip].card(), **fields), Seen())
    assert isinstance(found, Placement)
    return found


def test_the_energy_of_work_is_its_time_at_the_power_of_the_card() -> None:
    found = placement("RTX 3060")
    assert found.pace_s is not None
    assert found.joules == pytest.approx(found.pace_s * known_chips()["RTX 3060"].watts)


def test_an_old_card_needs_many_times_the_energy_of_a_new_one() -> None:
    old, new = placement("GTX 1070").joules, placement("RTX 4090").joules
    assert old is not None
    assert new is not None
    assert old > 4 * new


def test_a_cpu_that_simulates_a_card_tells_nothing_about_energy() -> None:
    found = placement("RTX 3060", "shotfarm-demo", backend="cpu")
    assert found.joules is None


def placed(model: Model, width: int, steps: int, paces: Mapping[str, float] | None = None) -> Placement:
    shot = plain_shot(model)._replace(width=width, height=width, steps=steps)
    catalog = replace(CATALOG, models={model.name: model})
    found = placing(catalog)(shot, known_chips()["RTX 3060"].card(), Seen(paces=paces or {}))
    assert isinstance(found, Placement)
    return found


@pytest.mark.parametrize(("width", "steps"), [(512, 4), (512, 25), (1536, 25), (1024, 4)])
def test_a_measured_speed_is_taken_over_to_other_sizes_and_settings_as_the_estimate_says(
    width: int, steps: int
) -> None:
    model = CATALOG.models["sdxl"]
    usual, other = placed(model, 1024, 25), placed(model, width, steps)
    timed = placed(model, width, steps, {"fp16": 2.0, "fp16-small": 2.0})
    assert usual.pace_s
    assert other.pace_s
    assert timed.pace_s

    assert usual.shape == 1
    assert other.shape == pytest.approx(other.pace_s / usual.pace_s)
    assert other.shape > 1.3 or (width, steps) != (512, 4)
    # Another recipe may serve another size.
    assert timed.pace_s / 2 == pytest.approx(other.shape, rel=0.01)


def test_where_nothing_tells_how_long_images_take_all_sizes_are_alike() -> None:
    found = placed(replace(CATALOG.models["sdxl"], speeds=()), 512, 4)
    assert (found.pace_s, found.shape) == (None, 1)
