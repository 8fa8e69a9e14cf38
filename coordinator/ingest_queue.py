"""Ingest's queue: uploads that are reported are told to ingest, beside the calls that report them."""

from __future__ import annotations

from queue import SimpleQueue

from common.celeryapp import Publisher
from coordinator.loop import Loop


class IngestQueue(Loop):
    """A broker that hangs keeps no report waiting; what it loses the sweeper asks for again."""

    def __init__(self, publisher: Publisher, *, period_s: float) -> None:
        super().__init__("ingest queue", self._publish, period_s=period_s)
        self._publisher = publisher
        self._untold: SimpleQueue[str] = SimpleQueue()

    def put(self, attempt_id: str) -> None:
        """Let ingest check the upload of an attempt; to be called after the commit that holds its report."""
        self._untold.put(attempt_id)
        self.wake()

    def _publish(self) -> None:
        """Raises Unavailable; what is untold then is dropped, so that nothing piles up."""
        untold = [self._untold.get() for _ in range(self._untold.qsize())]
        for attempt_id in untold:
            self._publisher.publish_ingest(attempt_id)
