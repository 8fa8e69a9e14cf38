"""Expected ends of jobs, worked out again only once in a while: many people may watch a job."""

from __future__ import annotations

import threading
import time

from coordinator.ledger.transactions import Transactions
from coordinator.scheduling.expected_ends import ExpectedEnds
from coordinator.scheduling.horizon import frugal
from coordinator.scheduling.survey import survey

#: Seconds for which ends count.
_FRESH_S = 1.0
#: The same as a multiple of what it took to look at the backlog: the share of a core is bounded.
_REST = 20.0


class Forecast:
    """Thread-safe."""

    def __init__(self, transactions: Transactions, batch_s: float, *, eco: bool) -> None:
        self._transactions = transactions
        self._batch_s = batch_s
        self._eco = eco
        self._lock = threading.Lock()
        self._seen: ExpectedEnds | None = None
        #: Job to its end, of those that were asked for; and what it took to work them out.
        self._ends: dict[str, float | None] = {}
        self._took_s = 0.0

    def left_s(self, job_id: str) -> float | None:
        """Seconds until the last waiting image of a job is expected; None if none waits or nothing tells."""
        with self._lock:
            now, begin = self._transactions.clock(), time.monotonic()
            if self._seen is None or not 0 <= now - self._seen.now < max(_FRESH_S, _REST * self._took_s):
                self._seen, self._ends, self._took_s = self._look(now), {}, 0.0
            if job_id not in self._ends:
                self._ends[job_id] = self._seen.of(job_id)
            self._took_s += time.monotonic() - begin
            end = self._ends[job_id]
        return None if end is None else max(0.0, end - now)

    def _look(self, now: float) -> ExpectedEnds:
        with self._transactions.backlog() as present:
            backlog = present.copy()
        # With many nodes and jobs this takes a while, so it must not block writers.
        works = survey(backlog, backlog.version, now, self._batch_s, eco=self._eco).works
        return ExpectedEnds(now, backlog, {lane: frugal(some)[0] for lane, some in works.items()})
