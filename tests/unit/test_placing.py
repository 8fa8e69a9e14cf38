"""Placing: how fast a card takes a shot, and with how much energy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.catalog import load_catalog
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
