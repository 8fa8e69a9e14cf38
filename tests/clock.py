"""A clock that a test sets by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    #: Seconds since 1970, or since any time for what measures spans.
    now: float = 100.0

    def __call__(self) -> float:
        return self.now
