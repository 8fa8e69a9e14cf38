"""The mean power of a card, held by its driver or by rests."""

from __future__ import annotations

import pytest

from gpu_node.power import PowerCap, driver_limit


class Card:
    """Draws `watts` in passes and `idle` otherwise, on a clock that the test moves."""

    def __init__(self, watts: float, idle: float) -> None:
        self.watts, self.idle = watts, idle
        self.passed_s, self.joules = 0.0, 0.0

    def run(self, seconds: float, watts: float) -> None:
        self.passed_s += seconds
        self.joules += seconds * watts


@pytest.mark.parametrize(
    ("cap", "watts", "idle", "rest_s"),
    [
        (None, 300.0, 0.0, 0.0),
        (400.0, 300.0, 30.0, 0.0),
        (200.0, 300.0, 0.0, 10.0),
        # What the card draws idle makes the rest longer: 300 × 20 + 30 × 11.8 = 200 × 31.8.
        (200.0, 300.0, 30.0, 11.8),
        # It would rest for ever.
        (20.0, 300.0, 30.0, 40.0),
    ],
)
def test_a_card_rests_until_its_mean_power_is_the_cap(
    cap: float | None, watts: float, idle: float, rest_s: float
) -> None:
    card = Card(watts, idle)
    power = PowerCap(cap, lambda: card.joules, lambda: card.passed_s)
    for _ in range(3):
        power.begin()
        card.run(20.0, card.watts)
        power.end()
        rested_s = 0.0
        while power.owed_s() > 0:
            card.run(0.1, card.idle)
            rested_s += 0.1
        assert rested_s == pytest.approx(rest_s, abs=0.2)


class Nvml:
    """A driver that lets an administrator limit the power, and nobody else."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, obeys: bool) -> None:
        self.obeys, self.limit = obeys, 320_000

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:  # noqa: N802 - as NVML calls it
        return self.limit

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: str) -> tuple[int, int]:  # noqa: N802
        return 100_000, 350_000

    def nvmlDeviceSetPowerManagementLimit(self, handle: str, limit: int) -> None:  # noqa: N802
        if not self.obeys:
            raise self.NVMLError
        self.limit = limit


@pytest.mark.parametrize(
    ("watts", "obeys", "held"),
    [
        (200.0, True, 200_000),
        (50.0, True, 100_000),
        (400.0, True, 320_000),
        (200.0, False, 320_000),
        (None, True, 320_000),
    ],
)
def test_a_driver_holds_the_limit_until_the_node_ends(watts: float | None, obeys: bool, held: int) -> None:
    driver = Nvml(obeys=obeys)
    with driver_limit(driver, "card", watts):
        assert driver.limit == held
    assert driver.limit == 320_000
