"""Dispatch: as many tickets on each queue as free nodes could take work for.

Lost tickets come back by themselves, because what lies on a queue is counted anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from queue import SimpleQueue

from common.celeryapp import Publisher
from common.keys import TicketSigner
from common.nodes import queue_name
from coordinator.background.loop import Loop
from coordinator.ledger import Ledger

#: They share their calls of the coordinator; more would wait for one thread while others are idle.
_UPLOADS_A_TASK = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispatcher:
    ledger: Ledger
    #: Names the nodes that wait in a claim or take no tickets.
    parked: Callable[[], Set[str]]
    tickets: TicketSigner
    publisher: Publisher
    #: Hears of lane and class of each ticket.
    published: Callable[[str, int], None]

    def top_up(self) -> int:
        """Publish what is missing; the number of new tickets. Raises Unavailable when the broker is away."""
        wanted = self.ledger.backlog.ticket_demand(self.parked())
        if not wanted:
            return 0
        lying = self.publisher.depths([queue_name(*queue) for queue in wanted])
        new = 0
        for (lane, vram_class), limit in wanted.items():
            queue = queue_name(lane, vram_class)
            for _ in range(limit - lying[queue]):
                self.publisher.publish_ticket(queue, self.tickets.issue(lane, vram_class).text)
                self.published(lane, vram_class)
                new += 1
        return new


class IngestQueue(Loop):
    """A broker that hangs keeps no report waiting; what it loses the sweeper asks for again."""

    def __init__(self, publisher: Publisher, *, period_s: float) -> None:
        super().__init__("ingest queue", self._publish, period_s=period_s)
        self._publisher = publisher
        self._untold: SimpleQueue[str] = SimpleQueue()

    def put(self, attempt_ids: Sequence[str]) -> None:
        """Let ingest check uploads; to be called after the commit that holds their reports."""
        for attempt_id in attempt_ids:
            self._untold.put(attempt_id)
        if attempt_ids:
            self.wake()

    def _publish(self) -> None:
        """Raises Unavailable; what is untold then is dropped, so that nothing piles up."""
        untold = [self._untold.get() for _ in range(self._untold.qsize())]
        for begin in range(0, len(untold), _UPLOADS_A_TASK):
            self._publisher.publish_ingest(untold[begin : begin + _UPLOADS_A_TASK])
