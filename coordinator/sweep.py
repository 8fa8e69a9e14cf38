"""The sweeper: what nobody will report by itself is found by looking."""

from __future__ import annotations

import logging

from common.celeryapp import Publisher
from common.messages import Verdict
from common.nodes import INGEST_QUEUE
from common.storage import Store
from coordinator.ledger import Ledger

log = logging.getLogger(__name__)


class Sweeper:
    def __init__(self, ledger: Ledger, publisher: Publisher, store: Store) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._store = store

    def sweep(self) -> None:
        """Expire leases, miss nodes, ask ingest again. Raises Unavailable when a server is away."""
        swept = self._ledger.sweep()
        for batch in swept.expired:
            log.warning("the lease on batch %s ran out; its shots wait again", batch)
        for node in swept.lost:
            log.warning("node %s is lost: no heartbeat for the length of a lease", node)
        if swept.ingest_again:
            self._ask_ingest(swept.ingest_again)
        for attempt, key in swept.unanswered:
            self._settle(attempt, key)

    def _ask_ingest(self, attempts: tuple[str, ...]) -> None:
        # Messages that still lie there need no twin, or the queue would grow while ingest is away.
        if self._publisher.depths([INGEST_QUEUE])[INGEST_QUEUE] < len(attempts):
            for attempt in attempts:
                self._publisher.publish_ingest(attempt)

    def _settle(self, attempt: str, key: str) -> None:
        """Give an upload up that ingest never answered for, unless it was stored before ingest died."""
        there = self._store.head(key)
        if there is not None and there.metadata.get("attempt") == attempt:
            verdict = Verdict(
                outcome="stored", attempt_id=attempt, sha256=there.metadata.get("sha256"), size=there.size
            )
        else:
            verdict = Verdict(outcome="rejected", failure="ingest_crash")
        self._ledger.verdict(attempt, verdict)
