"""The numbering of the shots of a group: combinations outermost, then variants, then seeds."""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Numbering:
    combinations: int
    #: Number of seeds per variant.
    seeds: int
    #: Variants per combination; the maximum if they differ.
    variants: int = 1
    #: Cumulative numbers of variants, if they differ between combinations.
    ends: Sequence[int] | None = None

    @classmethod
    def of(cls, counts: Sequence[int], seeds: int) -> Numbering:
        """A numbering for combinations with the given numbers of variants, each below 2^63."""
        ends = array("q")
        total = 0
        for count in counts:
            total += count
            ends.append(total)
        return cls(len(ends), seeds, max(counts, default=1), ends)

    @property
    def shots(self) -> int:
        if self.ends is None:
            return self.combinations * self.variants * self.seeds
        return self.ends[-1] * self.seeds if self.ends else 0

    def first(self, combination: int) -> int:
        """Number of the first shot of a combination; for the number of combinations, the number of shots."""
        if self.ends is None:
            return combination * self.variants * self.seeds
        return self.ends[combination - 1] * self.seeds if combination else 0

    def combination(self, shot: int) -> int:
        """The combination of a shot."""
        before = shot // self.seeds
        return before // self.variants if self.ends is None else bisect(self.ends, before)
