"""What a ledger is given to decide with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.cost import Rates
from common.settings import Timing
from coordinator.ledger.records import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    timing: Timing
    rates: Rates
    place: Place
    #: Random hex text of so many bytes.
    new_secret: Callable[[int], str]
