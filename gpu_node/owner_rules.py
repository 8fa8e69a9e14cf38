"""The settings of a card's owner, followed while the node runs: when they change, they count at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from common.errors import InvalidDocument
from gpu_node.energy import Meter
from gpu_node.owner_settings import OwnerSettings, owner_file, read_owner_settings
from gpu_node.policy import PausePolicy, PauseReason
from gpu_node.readings import take_readings

log = logging.getLogger(__name__)


class OwnerRules:
    """`others` tells the percent of the card that other programs use.

    The settings are those of the file in `home`. Raises InvalidDocument where it is wrong at the start; later
    mistakes are logged, and what was read before goes on to count.
    """

    def __init__(
        self,
        home: Path,
        meter: Meter,
        others: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._home = home
        self._meter, self._others = meter, others
        self._clock, self._now = clock, now
        self._changed_at = self._file_time()
        self._follow(read_owner_settings(home))

    @property
    def settings(self) -> OwnerSettings:
        return self._settings

    def look(self) -> PauseReason | None:
        """Why the node pauses from now on; None where it may work."""
        if (changed_at := self._file_time()) != self._changed_at:
            self._changed_at = changed_at
            try:
                self._follow(read_owner_settings(self._home))
            except InvalidDocument as error:
                log.error("the settings of the owner are used as they were before: %s", error)
        return self._policy.look(take_readings(self._home, self._settings, self._meter, self._others))

    def _follow(self, settings: OwnerSettings) -> None:
        self._settings = settings
        self._policy = PausePolicy(settings, self._clock, self._now)

    def _file_time(self) -> int:
        try:
            return owner_file(self._home).stat().st_mtime_ns
        except OSError:
            return 0
