"""Memory of processes against work done: samples, and the slope through them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

import psutil

#: More points tell no more of a slope.
_POINTS = 300


@dataclass(slots=True)
class Courses:
    """How the memory of each process went."""

    #: Name to process id; one that was started again is not the one that was watched.
    pids: dict[str, set[int]] = field(default_factory=dict)
    #: Name to pairs of work done and MB.
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def sample(self, processes: Mapping[str, int], done: int) -> None:
        """Note what each process holds by itself: what would be free if it ended."""
        for name, pid in processes.items():
            with suppress(psutil.NoSuchProcess):
                memory_mb = psutil.Process(pid).memory_full_info().uss / 2**20
                self.points.setdefault(name, []).append((done, memory_mb))
                self.pids.setdefault(name, set()).add(pid)

    def growth(self, name: str, *, since: int) -> float:
        """MB a unit of work once `since` of it were done: the smaller of its slope and that of its peaks.

        A leak raises both. A collector's garbage that comes and goes over thousands of shots moves only one.
        """
        return min(self._slope(name, since), self._peaks(name, since))

    def _peaks(self, name: str, since: int) -> float:
        """From the peak of the first half to that of the second."""
        later = self.after(name, since)
        middle = (since + later[-1][0]) / 2
        first = max(mb for done, mb in later if done <= middle)
        second = max(mb for done, mb in later if done >= middle)
        return (second - first) / (later[-1][0] - middle)

    def _slope(self, name: str, since: int) -> float:
        """By Theil and Sen: the median slope of all pairs.

        Unlike least squares it is hardly moved by steps and peaks that come and go, as collectors make them.
        """
        later = self.after(name, since)
        some = later[:: len(later) // _POINTS + 1]
        pairs = combinations(some, 2)
        return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] != a[0])

    def after(self, name: str, since: int) -> list[tuple[int, float]]:
        return [point for point in self.points[name] if point[0] >= since]
