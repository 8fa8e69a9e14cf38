"""How much power a card may take on average: its driver holds it where that obeys, and rests do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

log = logging.getLogger(__name__)

#: Times as long as the work before it that a rest lasts at the most: the farm waits for the images.
_LONGEST_REST = 2.0


class PowerCap:
    """Keeps the mean power of a pass and the rest after it at `watts`; None: there is no rest.

    `joules` are those of the card until now, `clock` counts seconds.
    """

    def __init__(
        self, watts: float | None, joules: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.watts = watts
        self._joules, self._clock = joules, clock
        self._began: tuple[float, float] | None = None
        self._worked_s = 0.0

    def begin(self) -> None:
        """A pass begins."""
        self._began = self._clock(), self._joules()

    def end(self) -> None:
        """It is over."""
        if self._began is not None:
            self._worked_s = self._clock() - self._began[0]

    def owed_s(self) -> float:
        """Seconds that the card should still rest, as far as is known now; what it draws idle counts, too."""
        if self.watts is None or self._began is None:
            return 0.0
        passed_s, joules = self._clock() - self._began[0], self._joules() - self._began[1]
        longest_s = self._worked_s * (1 + _LONGEST_REST)
        return max(0.0, min(joules / self.watts, longest_s) - passed_s)


@contextmanager
def driver_limit(nvml: Any, handle: Any, watts: float | None) -> Iterator[None]:
    """Let the driver hold the power of a card, at the least that it can, as it was before afterwards.

    That needs the rights of an administrator; without them, nothing is changed.
    """
    if watts is None:
        yield
        return
    try:
        before = nvml.nvmlDeviceGetPowerManagementLimit(handle)
        least, most = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        limit = min(max(round(watts * 1e3), least), most, before)
        nvml.nvmlDeviceSetPowerManagementLimit(handle, limit)
    except nvml.NVMLError as error:
        log.info("the driver does not limit the power of the card (%s): it rests between passes", error)
        yield
        return
    log.info("the driver limits the power of the card to %.0f W", limit / 1e3)
    try:
        yield
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlDeviceSetPowerManagementLimit(handle, before)
