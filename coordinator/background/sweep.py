"""The sweeper: what nobody will report by itself is found by looking."""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from queue import SimpleQueue

from common.celeryapp import Publisher
from common.errors import FarmError
from common.messages import Verdict
from common.nodes import INGEST_QUEUE
from common.storage import Store
from coordinator.ledger import Ledger, Stuck, Swept, Unanswered

log = logging.getLogger(__name__)

#: Transactions of one round of retention: between rounds all others have their turn.
_THINNINGS = 5


class Sweeper:
    """Sweeps the ledger, and apart from that, since a server may hang, settles the uploads that it found."""

    def __init__(
        self, ledger: Ledger, publisher: Publisher, store: Store, parked: Callable[[], Set[str]]
    ) -> None:
        """`parked` names the nodes whose calls are held in place of heartbeats."""
        self._parked = parked
        self._ledger = ledger
        self._publisher = publisher
        self._store = store
        self._owed: SimpleQueue[Swept] = SimpleQueue()
        #: Names of what stood still and was logged: it does so sweep after sweep.
        self._reported: set[str] = set()

    def sweep(self) -> None:
        """Expire leases, miss nodes, find what ingest owes. Raises Unavailable when the database is away."""
        swept = self._ledger.sweep(self._parked())
        for batch in swept.expired:
            log.warning("the lease on batch %s ran out; its shots wait again", batch)
        for node in swept.lost:
            log.warning("node %s is lost: no heartbeat for the length of a lease", node)
        for stuck in swept.stuck:
            self._report(stuck)
        self._owed.put(swept)

    def ask_again(self) -> None:
        """Ask ingest again for what it owes, and give up what it was asked for too often.

        Raises Unavailable when broker or store is away; the sweeps to come find the same again.
        """
        again, unanswered = self._found()
        if again:
            self._ask_ingest(again)
        for upload in unanswered:
            self._ask(upload)

    def _found(self) -> tuple[list[str], tuple[Unanswered, ...]]:
        """By the sweeps since the last call; what is unanswered is found by each."""
        again: list[str] = []
        unanswered: tuple[Unanswered, ...] = ()
        while not self._owed.empty():
            swept = self._owed.get()
            again += swept.ingest_again
            unanswered = swept.unanswered
        return again, unanswered

    def _ask_ingest(self, attempts: list[str]) -> None:
        # Messages that still lie there need no twin, or the queue would grow while ingest is away.
        if self._publisher.depths([INGEST_QUEUE])[INGEST_QUEUE] < len(attempts):
            # Each by itself: one that kills ingest takes no other with it again.
            for attempt in attempts:
                self._publisher.publish_ingest([attempt])

    def _ask(self, upload: Unanswered) -> None:
        """Give an upload up that ingest never answered for, unless it was stored before ingest died."""
        there = self._store.head(upload.key)
        if there is not None and there.metadata.get("attempt") == upload.attempt_id:
            sha256 = there.metadata.get("sha256")
            verdict = Verdict(outcome="stored", attempt_id=upload.attempt_id, sha256=sha256, size=there.size)
        else:
            verdict = Verdict(outcome="rejected", failure="ingest_crash")
        (answer,) = self._ledger.ingest.verdicts([(upload.attempt_id, verdict)])
        if isinstance(answer, FarmError):
            self._report(Stuck(f"attempt {upload.attempt_id}", upload.shot_id, str(answer)))

    def _report(self, stuck: Stuck) -> None:
        if stuck.name not in self._reported:
            self._reported.add(stuck.name)
            log.error(
                "%s cannot be processed and stays unchanged; everything else continues (%s): "
                "run `farm explain %s` for details, and report this line, because it is a defect of the farm",
                stuck.name,
                stuck.reason,
                stuck.subject,
            )


def thin(ledger: Ledger) -> None:
    """Remove some of what the farm need not keep any more. Raises Unavailable when the database is away."""
    for _ in range(_THINNINGS):
        if not ledger.thin():
            return
