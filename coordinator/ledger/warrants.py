"""Warrants: how many tickets each queue deserves now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from common.states import NodeState
from coordinator.ledger.backlog import Backlog
from coordinator.ledger.fleet import Member, claimable
from coordinator.ledger.records import Place


def warrants(fleet: Iterable[Member], backlog: Backlog, place: Place) -> dict[tuple[str, int], int]:
    """See `Ledger.warrants`: (lane, class) to tickets, for ready nodes that something waits for."""
    takers: Counter[tuple[str, int]] = Counter()
    images: dict[tuple[str, int], int] = {}
    for member in fleet:
        if member.state is NodeState.BUSY:
            continue
        for lane in member.lanes:
            waiting = claimable(member, lane, backlog, place)
            if waiting:
                queue = (lane, member.vram_class)
                takers[queue] += 1
                images[queue] = max(images.get(queue, 0), waiting)
    return {queue: min(number, images[queue]) for queue, number in takers.items()}
