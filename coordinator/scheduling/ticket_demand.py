"""Ticket demand: how many tickets each queue needs now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from common.states import NodeState
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import in_lane, leaves_to_others


def ticket_demand(
    fleet: Iterable[Member], parked: Container[str], backlog: Backlog, now: float, batch_s: float
) -> dict[tuple[str, int], int]:
    """See `Ledger.ticket_demand`."""
    takers: Counter[tuple[str, int]] = Counter()
    images: dict[tuple[str, int], int] = {}
    for member in fleet:
        if member.state is NodeState.BUSY or member.id in parked:
            continue
        for lane in member.lanes:
            waiting = _claimable(member, lane, backlog, now, batch_s)
            if waiting:
                queue = (lane, member.vram_class)
                takers[queue] += 1
                images[queue] = max(images.get(queue, 0), waiting)
    return {queue: min(number, images[queue]) for queue, number in takers.items()}


def _claimable(member: Member, lane: str, backlog: Backlog, now: float, batch_s: float) -> int:
    """Images of the lane that wait, and that `member` could take and would finish in time."""
    return sum(
        images
        for line, images in in_lane(backlog, lane)
        if not isinstance(backlog.placed(member, line), str)
        and not leaves_to_others(member, line, backlog, now, batch_s)
    )
