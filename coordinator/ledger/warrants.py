"""Warrants: how many tickets each queue deserves now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from common.states import NodeState
from coordinator.ledger.backlog import Backlog
from coordinator.ledger.fleet import in_lane
from coordinator.ledger.member import Member


def warrants(fleet: Iterable[Member], parked: Container[str], backlog: Backlog) -> dict[tuple[str, int], int]:
    """See `Ledger.warrants`."""
    takers: Counter[tuple[str, int]] = Counter()
    images: dict[tuple[str, int], int] = {}
    for member in fleet:
        if member.state is NodeState.BUSY or member.id in parked:
            continue
        for lane in member.lanes:
            waiting = _claimable(member, lane, backlog)
            if waiting:
                queue = (lane, member.vram_class)
                takers[queue] += 1
                images[queue] = max(images.get(queue, 0), waiting)
    return {queue: min(number, images[queue]) for queue, number in takers.items()}


def _claimable(member: Member, lane: str, backlog: Backlog) -> int:
    """Images of the lane that wait and that `member` could take."""
    return sum(
        images for line, images in in_lane(backlog, lane) if not isinstance(backlog.placed(member, line), str)
    )
