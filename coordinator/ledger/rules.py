"""What a ledger is given to decide with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.cost import Rates
from common.settings import Timing
from common.shot import Shot
from coordinator.ledger.incident import Incident
from coordinator.ledger.records import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    timing: Timing
    rates: Rates
    place: Place
    #: Whether a shot's model is known to read all of its prompts.
    whole: Callable[[Shot], bool]
    #: Random hex text of so many bytes.
    new_secret: Callable[[int], str]
    #: Of the farm's own, while which no node is blamed.
    incident: Incident

    def note_trouble(self, now: float) -> None:
        """Something of the farm's own does not work: from a little before now, and for a while."""
        self.incident.note(now - self.timing.lease_s, now + self.timing.grace_s)
