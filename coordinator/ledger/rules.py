"""The rules that a ledger decides with, and incidents of the farm, during which no node is blamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from common.cost import Rates
from common.settings import Timing
from common.shot import Shot
from coordinator.scheduling.placing import Placer


@dataclass(slots=True)
class Incident:
    """The one that lasts, if any: the coordinator was away or stalled, the clock jumped, the store is away.

    Times are seconds since 1970.
    """

    #: When it began; None while there is none.
    began: float | None = None
    until: float = -inf

    def note(self, since: float, until: float) -> None:
        """Begin one, or let the present one last longer."""
        self.began = since if self.began is None else min(self.began, since)
        self.until = max(self.until, until)

    def lasts(self, now: float) -> bool:
        return self.began is not None and now < self.until

    def over(self, now: float) -> bool:
        """Whether one has ended that was not closed yet."""
        return self.began is not None and now >= self.until

    def close(self) -> None:
        self.began, self.until = None, -inf

    def clock_set_back(self, now: float) -> None:
        """After the clock was set back, nothing began later than now."""
        self.began = self.began and min(self.began, now)
        self.until = min(self.until, now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    timing: Timing
    rates: Rates
    place: Placer
    #: Whether a shot's model is known to read all of its prompts.
    whole: Callable[[Shot], bool]
    #: Seconds for which details of jobs that have ended are kept; None: for ever.
    keep_s: float | None
    #: Random hex text of so many bytes.
    new_secret: Callable[[int], str]
    #: The present incident of the farm, during which no node is blamed.
    incident: Incident

    def note_trouble(self, now: float) -> None:
        """Something of the farm's own does not work: from a little before now, and for a while."""
        self.incident.note(now - self.timing.lease_s, now + self.timing.grace_s)
