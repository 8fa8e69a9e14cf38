"""A token bucket, which limits how often something happens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Calls that somebody has left: `size` at most, refilled within `period_s`."""

    size: float
    period_s: float
    left: float
    #: On a monotonic clock.
    at: float

    def take(self, now: float) -> float:
        """Take one call; returns the seconds until there is one, 0 if it was taken."""
        self.left = min(self.size, self.left + (now - self.at) * self.size / self.period_s)
        self.at = now
        if self.left < 1:
            return (1 - self.left) * self.period_s / self.size
        self.left -= 1
        return 0.0

    def give_back(self) -> None:
        """Undo one `take`."""
        self.left = min(self.size, self.left + 1)
