"""What the coordinator wants of this node, however it is heard, put into effect."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from common.messages import BeatAnswer
from gpu_node.engine_client import EngineClient
from gpu_node.progress import BatchInHand, Progress

log = logging.getLogger(__name__)


class Steering:
    """For one incarnation; `on_over` is called once, when the coordinator says that it has ended."""

    def __init__(self, progress: Progress, engine: EngineClient, on_over: Callable[[str], None]) -> None:
        self._progress = progress
        self._engine = engine
        self._on_over = on_over
        self._lock = threading.Lock()
        self._ended = False

    def obey(self, batch: BatchInHand | None, answer: BeatAnswer) -> None:
        """Do as a listener's answer says. It was asked for with `batch` in hand, and counts for no other."""
        with self._lock:
            if self._ended or self._progress.batch is not batch:
                return
            if answer.order == "pause":
                self._pause(batch, answer.reason)
                return
            self._resume()
        self.heed(batch, answer)

    def heed(self, batch: BatchInHand | None, answer: BeatAnswer) -> None:
        """Do what the answer says of the batch, also a heartbeat's.

        Pauses are the listener's alone: what a heartbeat was answered may be older than what was heard.
        """
        if batch is None or self._ended:
            return
        if answer.order == "stop":
            batch.lose(answer.reason or "the coordinator took it back")
        else:
            batch.cancel(answer.cancelled)

    def leased(self) -> None:
        """A lease was granted, which no paused node gets: it was resumed, even if that was not heard yet.

        To be called before its batch is listened for.
        """
        with self._lock:
            self._resume()

    def end(self, why: str) -> None:
        """The incarnation is over, and with it the lease of the batch in hand."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        if (batch := self._progress.batch) is not None:
            batch.lose(why)
        self._on_over(why)

    def close(self) -> None:
        """Obey nothing that is still heard for this incarnation."""
        with self._lock:
            self._ended = True

    def _resume(self) -> None:
        if self._engine.resume():
            log.info("resumed")

    def _pause(self, batch: BatchInHand | None, reason: str) -> None:
        if batch is not None:
            batch.lose(f"paused: {reason}")
        if self._engine.suspend():
            log.info("paused (%s); the card is free", reason)
