"""Ticket demand: how many tickets each queue needs now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from math import inf

from common.states import NodeState
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.horizon import FRESH_S, Horizon
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import leaves_to_others
from coordinator.scheduling.peers import Reach
from coordinator.scheduling.work import Line

#: Tickets by lane and VRAM class.
Demand = dict[tuple[str, int], int]


class TicketDemand:
    """Remembers the demand while nothing changes."""

    def __init__(self) -> None:
        self._of: tuple[int, Mapping[str, Horizon] | None, frozenset[str], frozenset[str]] | None = None
        self._at = -inf
        self._demand: Demand = {}

    def at(
        self, now: float, fleet: Iterable[Member], parked: Set[str], backlog: Backlog, batch_s: float
    ) -> Demand:
        """See `SharedBacklog.ticket_demand`."""
        of = backlog.version, backlog.horizons, frozenset(parked), frozenset(backlog.copies)
        # Whether a test is over shows in the tables only.
        if backlog.tested or of != self._of or not self._at <= now < self._at + FRESH_S:
            self._demand = ticket_demand(fleet, parked, backlog, now, batch_s)
            self._of, self._at = of, now
        return self._demand


def ticket_demand(
    fleet: Iterable[Member], parked: Container[str], backlog: Backlog, now: float, batch_s: float
) -> Demand:
    """The demand now. Grows with the free nodes that are not parked."""
    takers: Counter[tuple[str, int]] = Counter()
    images: dict[tuple[str, int], int] = {}
    waiting: dict[tuple[str, Reach], int] = {}
    for member in fleet:
        if member.state is NodeState.BUSY or member.id in parked:
            continue
        peers = backlog.peers.of(member.id)
        if peers is None:
            continue
        for lane in member.lanes:
            kind = lane, peers.bit
            if kind not in waiting:
                waiting[kind] = sum(total.images for _, total in backlog.stock.totals(*kind))
            if waiting[kind] and _is_needed(member, lane, peers.bit, backlog, now, batch_s):
                queue = (lane, member.vram_class)
                takers[queue] += 1
                images[queue] = max(images.get(queue, 0), waiting[kind])
    found = Counter({queue: min(number, images[queue]) for queue, number in takers.items()})
    found.update(_for_duplicates(parked, backlog))
    return dict(found)


def _for_duplicates(parked: Container[str], backlog: Backlog) -> Iterator[tuple[str, int]]:
    """The queues of the nodes that should duplicate something and are not parked."""
    for node_id, copy in backlog.copies.items():
        member, job = backlog.serving.get(node_id), backlog.jobs.get(copy.job_id)
        if member and job and member.state is not NodeState.BUSY and node_id not in parked:
            yield job.lane, member.vram_class


def _is_needed(member: Member, lane: str, reach: Reach, backlog: Backlog, now: float, batch_s: float) -> bool:
    """Whether the node would finish something of the lane in time; the least work is looked at first."""
    if backlog.outlook(lane, member.kind, now).ends is None:
        return True
    for job_id in backlog.stock.in_lane(lane):
        for (model, some), entries in backlog.stock.jobs[job_id].by_model.items():
            if some & reach:
                # With a measured speed, nothing is in time if the least work is not.
                for _, work_key, min_class in entries[-1:] if model in member.speeds else reversed(entries):
                    line = Line(job_id, work_key, min_class)
                    if not leaves_to_others(member, line, backlog, now, batch_s):
                        return True
    return False
