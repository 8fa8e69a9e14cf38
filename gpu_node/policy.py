"""When a node pauses because its owner wants the card: from readings of the machine to a reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from common.nodes import RESUMES_BY_ITSELF
from common.units import format_seconds
from gpu_node.owner_settings import OwnerSettings
from gpu_node.schedule import DAYS, is_within, next_within

#: Degrees below the limit at which a hot card counts as cool again.
_COOLER_C = 5.0
_DAY_S = 24 * 3600


class Readings(NamedTuple):
    """What the machine is like now; None where nothing tells."""

    #: Whether its owner ran `farm-node pause`.
    by_hand: bool = False
    #: Names of programs that run, as `program_name` gives them.
    programs: frozenset[str] = frozenset()
    #: Percent of the card that other programs use.
    card_use_percent: float | None = None
    on_battery: bool = False
    temperature_c: float | None = None


class PauseReason(NamedTuple):
    #: For the farm: nothing of what runs here.
    told: str
    #: For the owner.
    shown: str


class PausePolicy:
    """`clock` counts seconds monotonically; `now` is the local time."""

    def __init__(
        self, settings: OwnerSettings, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._programs = {program_name(name): name for name in settings.programs}
        self._clock = clock
        self._now = now
        self._hot = False
        #: Why the owner last needed the card, and when that was.
        self._need: PauseReason | None = None
        self._needed_at = 0.0

    def look(self, readings: Readings) -> PauseReason | None:
        """Why the node pauses from now on; None where it may work."""
        if readings.by_hand:
            return PauseReason("", "paused by `farm-node pause`; `farm-node resume` ends it")
        if (need := next(self._needs(readings), None)) is not None:
            self._need, self._needed_at = need, self._clock()
            return need
        return self._outside() or self._quiet()

    def _needs(self, readings: Readings) -> Iterator[PauseReason]:
        settings = self._settings
        if running := readings.programs & self._programs.keys():
            yield _reason("a program of its owner runs", f"{self._programs[min(running)]} runs")
        use, limit = readings.card_use_percent, settings.card_use_percent
        if use is not None and limit is not None and use >= limit:
            yield _reason("another program uses the card", f"other programs use {use:.0f} % of the card")
        if readings.on_battery and settings.pause_on_battery:
            yield _reason("it runs on battery", "this machine runs on its battery")
        if self._is_hot(readings.temperature_c):
            limit_c = f"{settings.temperature_c:.0f} °C is the limit"
            shown = f"the card has {readings.temperature_c:.0f} °C, and {limit_c}"
            yield _reason("the card is too hot", shown)

    def _is_hot(self, temperature_c: float | None) -> bool:
        limit = self._settings.temperature_c
        if temperature_c is None or limit is None:
            return False
        self._hot = temperature_c > limit or (self._hot and temperature_c > limit - _COOLER_C)
        return self._hot

    def _outside(self) -> PauseReason | None:
        settings, now = self._settings, self._now()
        schedules = {
            "outside the hours of its owner": settings.periods,
            "outside the tariff hours of its owner": settings.cheap_periods,
        }
        given = {words: periods for words, periods in schedules.items() if periods}
        words = next((words for words, periods in given.items() if not is_within(periods, now)), None)
        if words is None:
            return None
        start = next_within([*given.values()], now)
        if start is None:
            never = "the hours of its owner are never hours of the tariff"
            return PauseReason(never, never)
        day = "" if start.date() == now.date() else f"{DAYS[start.weekday()]} "
        sentence = f"{words} until {day}{start:%H:%M}"
        return _reason(sentence, sentence)

    def _quiet(self) -> PauseReason | None:
        """A need that is over has to stay over for a while."""
        if self._need is None:
            return None
        left_s = self._needed_at + 60 * self._settings.resume_after_min - self._clock()
        if left_s <= 0:
            self._need = None
            return None
        shown = f"resumes in {format_seconds(left_s)}; the reason was: {self._need.shown}"
        return self._need._replace(shown=shown)


def program_name(text: str) -> str:
    """The name of a program without path, `.exe` and capitals, however its owner or the system writes it."""
    return re.split(r"[/\\]", text.strip())[-1].lower().removesuffix(".exe")


def _reason(told: str, shown: str) -> PauseReason:
    return PauseReason(f"{told}; {RESUMES_BY_ITSELF}", shown)
