"""Joules of the card, by the best way this card has; the method goes with every figure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, Protocol

#: Samples a second where the card has no energy counter.
SAMPLE_HZ = 5.0

Method = Literal["counter", "sampled", "estimated"]


class Meter(Protocol):
    """Counts from its start on. Safe to ask from any thread."""

    method: Method

    def joules(self) -> float:
        """Never less than before; a reading that fails gives the last one."""

    def watts(self) -> float | None:
        """Drawn now; None where nothing tells."""

    def temperature_c(self) -> float | None: ...

    def work(self, working: bool) -> None:
        """The card begins or ends to work; of interest to an estimate only."""

    def close(self) -> None: ...


class Sensors(Protocol):
    """What a card's driver tells; each may raise `SensorMissing`."""

    def joules(self) -> float:
        """Of a counter that only grows."""

    def watts(self) -> float: ...

    def temperature_c(self) -> float: ...


class SensorMissing(Exception):
    """This card or driver does not measure that."""


class _SensorMeter:
    """What both meters that ask the card have in common."""

    def __init__(self, sensors: Sensors) -> None:
        self._sensors = sensors
        self._joules = 0.0

    def watts(self) -> float | None:
        return _or_none(self._sensors.watts)

    def temperature_c(self) -> float | None:
        return _or_none(self._sensors.temperature_c)

    def work(self, working: bool) -> None:
        pass

    def close(self) -> None:
        pass


class CounterMeter(_SensorMeter):
    """The card's own energy counter (Volta and newer)."""

    method: Method = "counter"

    def __init__(self, sensors: Sensors) -> None:
        super().__init__(sensors)
        self._start = sensors.joules()

    def joules(self) -> float:
        with suppress(SensorMissing):
            self._joules = max(self._joules, self._sensors.joules() - self._start)
        return self._joules


class SampledMeter(_SensorMeter):
    """Power read `SAMPLE_HZ` times a second and integrated (Pascal)."""

    method: Method = "sampled"

    def __init__(self, sensors: Sensors, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sensors)
        self._clock = clock
        self._lock = threading.Lock()
        self._last = (clock(), sensors.watts())
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="energy", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        with self._lock:
            return self._joules

    def sample(self) -> None:
        """Add the energy since the last sample, by the trapezoid rule."""
        try:
            now = (self._clock(), self._sensors.watts())
        except SensorMissing:
            return
        with self._lock:
            (then, before), self._last = self._last, now
            self._joules += (now[0] - then) * (before + now[1]) / 2

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(1 / SAMPLE_HZ):
            self.sample()


class DeclaredMeter:
    """A declared wattage times the seconds of work; of idling it knows nothing and counts nothing.

    With `watts` None it counts 0 J, and the coordinator assumes the wattage of the card's class.
    """

    method: Method = "estimated"

    def __init__(self, watts: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._watts = watts or 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._since: float | None = None

    def joules(self) -> float:
        with self._lock:
            running = self._clock() - self._since if self._since is not None else 0.0
            return (self._seconds + running) * self._watts

    def watts(self) -> float | None:
        return self._watts if self._since is not None else None

    def temperature_c(self) -> float | None:
        return None

    def work(self, working: bool) -> None:
        with self._lock:
            now = self._clock()
            if self._since is not None:
                self._seconds += now - self._since
            self._since = now if working else None

    def close(self) -> None:
        pass


def open_meter(sensors: Sensors | None, watts: float | None) -> Meter:
    """The first rung of the ladder that this card reaches."""
    if sensors is None:
        return DeclaredMeter(watts)
    for rung in (CounterMeter, SampledMeter):
        try:
            return rung(sensors)
        except SensorMissing:
            continue
    return DeclaredMeter(watts)


class NvmlSensors:
    """NVML's view of one card; `nvml` is the pynvml module, initialised."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def joules(self) -> float:
        return self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle) / 1e3

    def watts(self) -> float:
        return self._ask(self._nvml.nvmlDeviceGetPowerUsage, self._handle) / 1e3

    def temperature_c(self) -> float:
        return self._ask(self._nvml.nvmlDeviceGetTemperature, self._handle, self._nvml.NVML_TEMPERATURE_GPU)

    def _ask(self, question: Callable[..., float], *arguments: Any) -> float:
        try:
            return float(question(*arguments))
        except self._nvml.NVMLError as error:
            raise SensorMissing(str(error)) from error


def _or_none(ask: Callable[[], float]) -> float | None:
    try:
        return ask()
    except SensorMissing:
        return None
