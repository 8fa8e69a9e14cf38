"""Look-ahead: keeps the horizons that claims go by up to date, and lets parked nodes look for work.

It also takes back images that nodes have not begun: for idle nodes that finish them sooner, and for short
jobs that are next in turn. Idle nodes that find nothing else duplicate passes that they finish sooner.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Set

from coordinator.background.loop import Loop
from coordinator.ledger import Ledger
from coordinator.scheduling.foresight import Foresight

#: Seconds between two rounds at least: commits that come together are one round.
_AFTER_WORK_S = 0.1
#: Free nodes that look again in each round although nothing changed for them.
_AGAIN = 10
#: Time between two rounds, as a multiple of what the last one took: the share of a core is bounded.
_REST = 20.0
#: The same after new work, which nodes wait for.
_REST_FOR_WORK = 4.0


class LookAhead(Loop):
    def __init__(
        self,
        ledger: Ledger,
        wake_nodes: Callable[[Set[str] | None], None],
        *,
        period_s: float,
        patience_s: float,
        batch_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wake_nodes` lets parked nodes look for work again: those given, or all."""
        super().__init__("look ahead", self.look, period_s=period_s, rest_s=_AFTER_WORK_S)
        self._ledger = ledger
        self._wake_nodes = wake_nodes
        self._foresight = Foresight(batch_s=batch_s, patience_s=patience_s)
        self._monotonic = monotonic
        self._new_work = threading.Event()
        #: Version of the backlog that was looked at last.
        self._seen = 0
        self._ended_at, self._took_s = 0.0, 0.0
        self._useful: Set[str] = frozenset()
        self._turn = 0

    def wake_for_work(self) -> None:
        """Let parked nodes look for work once the horizon knows it."""
        self._new_work.set()
        self.wake()

    def look(self) -> None:
        """One round; nothing if no work waits and nothing changed. Raises Unavailable as the ledger does."""
        work = self._new_work.is_set()
        rest_s = self._took_s * (_REST_FOR_WORK if work else _REST)
        left_s = self._ended_at + rest_s - self._monotonic()
        if left_s > 0 and (not work or self._stopped.wait(left_s)):
            return
        begin = self._monotonic()
        self._new_work.clear()
        try:
            useful = self._renew()
        finally:
            self._ended_at = self._monotonic()
            self._took_s = self._ended_at - begin
            if work:
                self._wake_nodes(None)
        if useful and not work:
            self._wake_nodes(self._some(useful))

    def _some(self, useful: Set[str]) -> Set[str]:
        """Those that have become useful, and a few others: one may have been refused for a passing reason."""
        newly, self._useful = useful - self._useful, useful
        again = sorted(useful - newly)
        self._turn += _AGAIN
        start = self._turn % max(1, len(again))
        return newly | set((again + again)[start : start + min(_AGAIN, len(again))])

    def _renew(self) -> Set[str]:
        """Work out the horizons; returns free nodes that could finish an image in time, or duplicate some."""
        found = self._ledger.backlog.survey(self._seen)
        if found is None:
            return frozenset()
        ahead = self._foresight.look(found)
        self._ledger.backlog.adopt(ahead.horizons, ahead.copies)
        self._seen = found.version
        if ahead.trims:
            # Idle nodes are woken when the next round knows what waits again.
            self._ledger.batches.trim(ahead.trims)
        return ahead.useful | ahead.copies.keys()
