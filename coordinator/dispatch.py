"""Dispatch: as many tickets on each queue as the backlog warrants and free nodes can take.

Lost tickets come back by themselves, because what lies on a queue is counted anew each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set

from common.celeryapp import Publisher
from common.keys import TicketSigner
from common.nodes import queue_name
from common.views import NodeView
from coordinator.ledger import Ledger

#: States of a node in which a ticket is of use; a distrusted one needs one for its self-test.
_MAY_TAKE_ONE = ("ready", "selftest")


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
        wanted = ticket_limits(self._ledger.warrants(), self._ledger.nodes(), self._parked())
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


def ticket_limits(
    warrants: dict[tuple[str, int], int], nodes: list[NodeView], parked: Set[str]
) -> dict[tuple[str, int], int]:
    """(lane, class) to the tickets that may lie there: at most its ready nodes with none in hand."""
    free: Counter[tuple[str, int]] = Counter(
        (lane, node.vram_class)
        for node in nodes
        if node.state in _MAY_TAKE_ONE and node.batch_id is None and node.id not in parked
        for lane in node.lanes
    )
    limits = {queue: min(batches, free[queue]) for queue, batches in warrants.items()}
    return {queue: limit for queue, limit in limits.items() if limit}
