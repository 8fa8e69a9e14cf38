"""The rules that a ledger decides with, and incidents of the farm, during which no node is blamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from common.lanes import Lanes
from common.settings import Money, Timing
from common.shot import Shot
from coordinator.scheduling.placing import Placer


@dataclass(slots=True)
class Incident:
    """The current incident: the coordinator was stopped or stalled, the clock jumped, or the store is down.

    Times are seconds since 1970.
    """

    #: Start of the incident; None if there is none.
    began: float | None = None
    until: float = -inf
    #: When the last one ended that is over.
    ended_at: float = -inf
    #: When a node last delivered an image.
    delivered_at: float = -inf

    def note(self, since: float, until: float) -> None:
        """Begin an incident, or extend the current one."""
        self.began = since if self.began is None else min(self.began, since)
        self.until = max(self.until, until)

    def lasts(self, now: float) -> bool:
        return self.began is not None and now < self.until

    def over(self, now: float) -> bool:
        """Whether an incident has ended and is not closed yet."""
        return self.began is not None and now >= self.until

    def close(self) -> None:
        self.began, self.until, self.ended_at = None, -inf, self.until

    def clock_set_back(self, now: float) -> None:
        """Limit all times to `now` after the clock was set back."""
        self.began = self.began and min(self.began, now)
        self.until, self.ended_at = min(self.until, now), min(self.ended_at, now)
        self.delivered_at = min(self.delivered_at, now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    timing: Timing
    rates: Money
    place: Placer
    #: Whether the prompts of a shot are known to fit its model.
    whole: Callable[[Shot], bool] = lambda _: False
    #: Whether cards that waste energy leave work to others, for jobs that say nothing of it.
    eco: bool = True
    #: Which nodes may see which prompts.
    lanes: Lanes = field(default_factory=Lanes)
    #: Seconds for which details of ended jobs are kept; None: forever.
    keep_s: float | None = None
    #: Seconds for which the audit log is kept; None: forever.
    audit_s: float | None = None
    #: Decides which images of volunteers are verified, so nobody else may know it.
    secret: bytes = b""
    #: The present incident of the farm, during which no node is blamed.
    incident: Incident = field(default_factory=Incident)

    def note_trouble(self, now: float) -> None:
        """Record a disruption of the farm that began shortly before `now` and lasts for a while."""
        self.incident.note(now - self.timing.lease_s, now + self.timing.grace_s)
