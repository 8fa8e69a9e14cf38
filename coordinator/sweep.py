"""The sweeper: what nobody will report by itself is found by looking."""

from __future__ import annotations

import logging

from common.celeryapp import Publisher
from common.errors import Conflict, Invalid, NotFound
from common.messages import Verdict
from common.nodes import INGEST_QUEUE
from common.storage import Store
from coordinator.ledger import Ledger, Stuck, Unanswered

log = logging.getLogger(__name__)


class Sweeper:
    def __init__(self, ledger: Ledger, publisher: Publisher, store: Store) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._store = store
        #: Names of what stood still and was logged: it does so sweep after sweep.
        self._told: set[str] = set()

    def sweep(self) -> None:
        """Expire leases, miss nodes, ask ingest again. Raises Unavailable when a server is away."""
        swept = self._ledger.sweep()
        for batch in swept.expired:
            log.warning("the lease on batch %s ran out; its shots wait again", batch)
        for node in swept.lost:
            log.warning("node %s is lost: no heartbeat for the length of a lease", node)
        for stuck in swept.stuck:
            self._tell(stuck)
        if swept.ingest_again:
            self._ask_ingest(swept.ingest_again)
        for upload in swept.unanswered:
            try:
                self._settle(upload)
            except (Conflict, Invalid, NotFound) as error:
                self._tell(Stuck(f"attempt {upload.attempt_id}", upload.shot_id, str(error)))

    def _ask_ingest(self, attempts: tuple[str, ...]) -> None:
        # Messages that still lie there need no twin, or the queue would grow while ingest is away.
        if self._publisher.depths([INGEST_QUEUE])[INGEST_QUEUE] < len(attempts):
            for attempt in attempts:
                self._publisher.publish_ingest(attempt)

    def _settle(self, upload: Unanswered) -> None:
        """Give an upload up that ingest never answered for, unless it was stored before ingest died."""
        there = self._store.head(upload.key)
        if there is not None and there.metadata.get("attempt") == upload.attempt_id:
            sha256 = there.metadata.get("sha256")
            verdict = Verdict(outcome="stored", attempt_id=upload.attempt_id, sha256=sha256, size=there.size)
        else:
            verdict = Verdict(outcome="rejected", failure="ingest_crash")
        self._ledger.verdict(upload.attempt_id, verdict)

    def _tell(self, stuck: Stuck) -> None:
        if stuck.name not in self._told:
            self._told.add(stuck.name)
            log.error(
                "%s cannot be moved on and stays as it is, while all else goes on (%s): "
                "see `farm explain %s`, and report this line, for it is a defect of the farm",
                stuck.name,
                stuck.reason,
                stuck.subject,
            )
