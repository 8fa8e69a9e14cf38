"""Joules by the best method the card has."""

from __future__ import annotations

import pytest

from gpu_node.energy import CounterMeter, DeclaredMeter, SampledMeter, SensorMissing, open_meter
from tests.clock import Clock


class Sensors:
    """A card's sensors; None is one that it lacks."""

    def __init__(self, joules: float | None, watts: float | None, temperature_c: float | None = None) -> None:
        self.values = {"joules": joules, "watts": watts, "temperature_c": temperature_c}

    def _read(self, name: str) -> float:
        value = self.values[name]
        if value is None:
            raise SensorMissing(name)
        return value

    def joules(self) -> float:
        return self._read("joules")

    def watts(self) -> float:
        return self._read("watts")

    def temperature_c(self) -> float:
        return self._read("temperature_c")


def test_a_counter_is_read_from_the_nodes_start_on() -> None:
    sensors = Sensors(5000.0, 80.0, 61.0)
    meter = CounterMeter(sensors)
    sensors.values["joules"] = 5250.0

    assert (meter.joules(), meter.watts(), meter.temperature_c()) == (250.0, 80.0, 61.0)


def test_a_counter_that_cannot_be_read_stands_still() -> None:
    sensors = Sensors(5000.0, 80.0)
    meter = CounterMeter(sensors)
    sensors.values["joules"] = 5250.0
    before = meter.joules()
    sensors.values["joules"] = None

    assert (before, meter.joules()) == (250.0, 250.0)


def test_a_counter_that_starts_anew_takes_nothing_back() -> None:
    sensors = Sensors(5000.0, 80.0)
    meter = CounterMeter(sensors)
    sensors.values["joules"] = 5250.0
    meter.joules()
    sensors.values["joules"] = 10.0

    assert meter.joules() == 250.0


def test_sampled_power_is_integrated_between_samples() -> None:
    clock, sensors = Clock(), Sensors(None, 100.0)
    meter = SampledMeter(sensors, clock)
    meter.close()
    before = meter.joules()
    clock.now, sensors.values["watts"] = 102.0, 200.0
    meter.sample()

    assert before == 0.0
    assert meter.joules() == pytest.approx(300.0)


def test_a_sample_that_fails_is_bridged_by_the_next() -> None:
    clock, sensors = Clock(), Sensors(None, 100.0)
    meter = SampledMeter(sensors, clock)
    meter.close()
    clock.now, sensors.values["watts"] = 101.0, None
    meter.sample()
    clock.now, sensors.values["watts"] = 102.0, 100.0
    meter.sample()

    assert meter.joules() == pytest.approx(200.0)


def test_a_declared_wattage_counts_while_the_card_works_and_not_while_it_idles() -> None:
    clock = Clock()
    meter = DeclaredMeter(150.0, clock)
    clock.now += 10
    meter.work(True)
    clock.now += 2
    running = meter.joules()
    meter.work(False)
    clock.now += 10

    assert (running, meter.joules()) == (300.0, 300.0)


def test_work_that_is_said_twice_to_begin_counts_once() -> None:
    clock = Clock()
    meter = DeclaredMeter(150.0, clock)
    meter.work(True)
    clock.now += 2
    meter.work(True)
    clock.now += 2
    meter.work(False)

    assert meter.joules() == 600.0


@pytest.mark.parametrize(
    ("sensors", "method"),
    [
        (Sensors(1.0, 1.0), "counter"),
        (Sensors(None, 1.0), "sampled"),
        (Sensors(None, None), "estimated"),
        (None, "estimated"),
    ],
)
def test_the_best_method_that_the_card_has_is_used(sensors: Sensors | None, method: str) -> None:
    meter = open_meter(sensors, 100.0)

    assert meter.method == method
    meter.close()
