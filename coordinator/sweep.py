"""The sweeper: what nobody will report by itself is found by looking."""

from __future__ import annotations

import logging

from common.celeryapp import Publisher
from common.nodes import INGEST_QUEUE
from coordinator.ledger import Ledger

log = logging.getLogger(__name__)


class Sweeper:
    def __init__(self, ledger: Ledger, publisher: Publisher) -> None:
        self._ledger = ledger
        self._publisher = publisher

    def sweep(self) -> None:
        """Expire leases, miss nodes, ask ingest again. Raises Unavailable when a server is away."""
        swept = self._ledger.sweep()
        for batch in swept.expired:
            log.warning("the lease on batch %s ran out; its shots wait again", batch)
        for node in swept.lost:
            log.warning("node %s is lost: no heartbeat for the length of a lease", node)
        if swept.ingest_again:
            self._ask_ingest(swept.ingest_again)

    def _ask_ingest(self, attempts: tuple[str, ...]) -> None:
        # Messages that still lie there need no twin, or the queue would grow while ingest is away.
        if self._publisher.depths([INGEST_QUEUE])[INGEST_QUEUE] < len(attempts):
            for attempt in attempts:
                self._publisher.publish_ingest(attempt)
