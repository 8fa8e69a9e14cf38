"""When jobs are expected to end: after what waits of them, and after what goes before that.

Pure. A lane is seen as one machine that follows the order of the planner: the higher priority first, then the
owner, and of its jobs the job, that received less. While it works for another job, a job loses the share of
its own power that is on the nodes of the other. Loaded models, budgets and work of other lanes are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.horizon import Seat, WaitingWork, finish, pooled
from coordinator.scheduling.work import OpenJob


@dataclass(slots=True)
class _Demand:
    """What waits of other work: its seconds of cards, and by how much all of it would delay a job."""

    card_s: float = 0.0
    delay_s: float = 0.0

    def add(self, card_s: float, delay_s: float) -> None:
        self.card_s += card_s
        self.delay_s += delay_s


@dataclass(frozen=True, slots=True)
class ExpectedEnds:
    """The jobs of a backlog at one time, in seconds since 1970."""

    now: float
    backlog: Backlog
    #: By lane (`coordinator.scheduling.survey`).
    works: Mapping[str, Sequence[WaitingWork]]

    def of(self, job_id: str) -> float | None:
        """When the last waiting image of a job is expected; None if none waits, or if nothing tells."""
        job = self.backlog.jobs.get(job_id)
        works = self.works.get(job.lane, ()) if job else ()
        mine = [work for work in works if work.job_id == job_id]
        if job is None or not mine or not all(work.seats for work in mine):
            return None
        seats = pooled(mine)
        alone = max(finish(self.now, some.seats, some.images) for some in mine)
        alone = max(alone, finish(self.now, seats, sum(work.images for work in mine)))
        end = alone + self._ahead_s(job_id, job, seats, works)
        outlook = self.backlog.outlook(job.lane, seats[0].kind, self.now)
        last = outlook.limits.get(job_id, inf)
        if outlook.ends and last < inf:
            end = max(outlook.ends.get(job_id, end), min(end, last))
        return end if end < inf else None

    def _ahead_s(
        self, job_id: str, job: OpenJob, seats: Sequence[Seat], works: Sequence[WaitingWork]
    ) -> float:
        """Seconds by which other jobs delay this one."""
        demands = self._demands(seats, works)
        before_s, mine_s, owners = 0.0, demands[job_id].card_s, dict[str, _Demand]()
        need_s, given_s = mine_s, defaultdict[str, float](float)
        for other, demand in demands.items():
            its = self.backlog.jobs[other]
            if its.priority > job.priority:
                before_s += demand.delay_s
                given_s[its.owner] += demand.card_s
            elif its.priority == job.priority and its.owner != job.owner:
                owners.setdefault(its.owner, _Demand()).add(demand.card_s, demand.delay_s)
            elif its.priority == job.priority and other != job_id:
                part = _part(demand.card_s, job.service_s + mine_s - its.service_s)
                need_s += part * demand.card_s
                before_s += part * demand.delay_s
        level_s = self._usage_s(job.owner) + given_s[job.owner] + need_s
        for owner, demand in owners.items():
            room_s = level_s - self._usage_s(owner) - given_s[owner]
            before_s += _part(demand.card_s, room_s) * demand.delay_s
        return before_s

    def _demands(self, seats: Sequence[Seat], works: Sequence[WaitingWork]) -> dict[str, _Demand]:
        """What waits of each job, with the delay for a job that works on these seats."""
        speeds = {seat.node_id: _speed(seat) for seat in seats}
        power = sum(speeds.values())
        #: By what works that are alike share: their own power, and the share of this job's that they take.
        known: dict[int, tuple[float, float]] = {}
        demands: dict[str, _Demand] = {}
        for work in works:
            if not work.seats:
                continue
            if id(work.seats) not in known:
                taken = sum(speeds.get(seat.node_id, 0.0) for seat in work.seats) / power
                known[id(work.seats)] = sum(map(_speed, work.seats)), taken
            its_power, taken = known[id(work.seats)]
            alone_s = work.images / its_power
            demands.setdefault(work.job_id, _Demand()).add(alone_s * len(work.seats), alone_s * taken)
        return demands

    def _usage_s(self, owner: str) -> float:
        return self.backlog.usage.of(owner, self.now)


def _speed(seat: Seat) -> float:
    """Images per second."""
    return 1 / max(seat.image_s, 1e-9)


def _part(need_s: float, room_s: float) -> float:
    """The share of a need that is served within so many seconds.

    >>> _part(10.0, 4.0), _part(10.0, 40.0), _part(10.0, -1.0)
    (0.4, 1.0, 0.0)
    """
    return min(1.0, max(0.0, room_s / need_s)) if need_s else 0.0
