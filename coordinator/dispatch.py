"""Dispatch: as many tickets on each queue as free nodes could take work for.

Lost tickets come back by themselves, because what lies on a queue is counted anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from common.celeryapp import Publisher
from common.keys import TicketSigner
from common.nodes import queue_name
from coordinator.ledger import Ledger


class Dispatcher:
    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        tickets: TicketSigner,
        *,
        parked: Callable[[], Set[str]],
        published: Callable[[str, int], None],
    ) -> None:
        """`parked` names the nodes that wait in a claim; `published(lane, class)` hears of each ticket."""
        self._ledger = ledger
        self._publisher = publisher
        self._tickets = tickets
        self._parked = parked
        self._published = published

    def top_up(self) -> int:
        """Publish what is missing; the number of new tickets. Raises Unavailable when the broker is away."""
        wanted = self._ledger.warrants(self._parked())
        if not wanted:
            return 0
        lying = self._publisher.depths([queue_name(*queue) for queue in wanted])
        new = 0
        for (lane, vram_class), limit in wanted.items():
            queue = queue_name(lane, vram_class)
            for _ in range(limit - lying[queue]):
                self._publisher.publish_ticket(queue, self._tickets.issue(lane, vram_class).text)
                self._published(lane, vram_class)
                new += 1
        return new
