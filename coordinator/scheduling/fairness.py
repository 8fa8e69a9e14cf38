"""Fair share: the work that each owner has had of the farm lately.

Use that decays is how batch schedulers share a machine over days (as Slurm's fair-share factor does): who
had much waits for the others, and after a while it is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Seconds after which work counts half.
HALF_LIFE_S = 3600.0
#: Half-lives after which it counts for nothing worth reading from a ledger.
REMEMBERED = 8


@dataclass(slots=True)
class RecentUsage:
    """Owner to seconds of work, each halved every `HALF_LIFE_S`. Times are seconds on one clock."""

    #: Owner to seconds, and when they were that many.
    _usage: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: Work in hand by its name: whose it is, the seconds that it counts as, and since when.
    _in_hand: dict[str, tuple[str, float, float]] = field(default_factory=dict)

    def add(self, owner: str, seconds: float, at: float) -> None:
        """Work may be told of in any order of time; negative seconds take back what was counted too much."""
        known = self._usage.get(owner, (0.0, at))[1]
        latest = max(known, at)
        self._usage[owner] = (max(0.0, self.of(owner, latest) + seconds * _left(latest - at)), latest)

    def begin(self, work: str, owner: str, seconds: float, at: float) -> None:
        """Count work that begins at its estimate, until `finish` says what it took."""
        self.add(owner, seconds, at)
        self._in_hand[work] = owner, seconds, at

    def shorten(self, work: str, seconds: float) -> None:
        """Take back a part of work in hand, which counts its owner so much less."""
        if work in self._in_hand:
            owner, counted, at = self._in_hand[work]
            less = min(seconds, counted)
            self.add(owner, -less, at)
            self._in_hand[work] = owner, counted - less, at

    def finish(self, work: str, seconds: float) -> float:
        """Count what work in hand took instead; what is forgotten by now counts for nothing.

        Returns by how many seconds it took longer than it was counted for.
        """
        if work not in self._in_hand:
            return 0.0
        owner, counted, at = self._in_hand.pop(work)
        self.add(owner, seconds - counted, at)
        return seconds - counted

    def copy(self) -> RecentUsage:
        return RecentUsage(self._usage.copy(), self._in_hand.copy())

    def everyone(self, now: float) -> dict[str, float]:
        """Every owner's seconds as they count at `now`, without those that count for nothing."""
        usage = {owner: self.of(owner, now) for owner in self._usage}
        return {owner: seconds for owner, seconds in usage.items() if seconds > 0}

    def of(self, owner: str, now: float) -> float:
        """Seconds as they count at `now`."""
        seconds, at = self._usage.get(owner, (0.0, now))
        return seconds * _left(now - at)


def _left(age_s: float) -> float:
    """The part of work that still counts after so long; a clock that was set back adds nothing."""
    return float(0.5 ** (max(age_s, 0.0) / HALF_LIFE_S))
