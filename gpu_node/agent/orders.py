"""The coordinator's orders: heard by a call that is always held there, and put into effect."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from common.errors import Forbidden, Gone, NotFound, OtherVersion, Unauthorised, Unavailable
from common.messages import HeartbeatAnswer, Joined, Listen
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.progress import ActiveBatch, Progress

log = logging.getLogger(__name__)

#: What a farm answers to an incarnation that has ended, or a node that may not call any more.
OVER = (Gone, NotFound, OtherVersion, Forbidden, Unauthorised)
#: Seconds between an answer and the next call: a server that answers at once is not flooded.
_BREATH_S = 0.1
#: Seconds before a coordinator that does not answer is called again: orders are to be heard within 2.
_AWAY_S = 1.0


class Steering:
    """Puts orders into effect, whether a listener or a heartbeat heard them. For one incarnation.

    `on_over` is called once, when the coordinator says that it has ended.
    """

    def __init__(self, progress: Progress, engine: EngineClient, on_over: Callable[[str], None]) -> None:
        self._progress = progress
        self._engine = engine
        self._on_over = on_over
        self._lock = threading.Lock()
        self._ended = False

    def obey(self, batch: ActiveBatch | None, answer: HeartbeatAnswer) -> None:
        """Do as a listener's answer says. It was asked for with `batch` active, and counts for no other."""
        with self._lock:
            if self._ended or self._progress.batch is not batch:
                return
            if answer.order == "pause":
                self._pause(batch, answer.reason)
                return
            self._resume()
        self.heed(batch, answer)

    def heed(self, batch: ActiveBatch | None, answer: HeartbeatAnswer) -> None:
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
        """The incarnation is over, and with it the lease of the active batch."""
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

    def _pause(self, batch: ActiveBatch | None, reason: str) -> None:
        if batch is not None:
            batch.lose(f"paused: {reason}")
        if self._engine.suspend():
            log.info("paused (%s); the GPU is free", reason)


class Listener:
    """Listens while it is entered. A coordinator that does not answer is called again a second later."""

    def __init__(
        self, coordinator: Coordinator, joined: Joined, progress: Progress, steering: Steering
    ) -> None:
        self._coordinator = coordinator
        self._joined = joined
        self._progress = progress
        self._steering = steering
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        self.attend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The call that is held ends by itself; nobody waits for it, and nothing it brings is obeyed.
        self._ending.set()
        self._steering.close()

    def attend(self) -> None:
        """Listen for the active batch now, or for none; the coordinator ends the call about another.

        A node that parks hears its orders where it waits for work.
        """
        batch = self._progress.batch
        if batch is None and not self._joined.broker_url:
            return
        threading.Thread(target=self._run, args=(batch,), name="listener", daemon=True).start()

    def _run(self, batch: ActiveBatch | None) -> None:
        known = HeartbeatAnswer(order="go on")
        while not self._ending.is_set() and self._progress.batch is batch:
            pause_s = _BREATH_S
            try:
                answer = self._coordinator.listen(self._joined.node_id, self._call(batch, known))
                log_orders(answer, known)
                known = answer
                self._steering.obey(batch, known)
            except OVER as error:
                self._steering.end(str(error))
                return
            except Unavailable:  # the heartbeat says so
                pause_s = _AWAY_S
            except Exception as error:  # whatever the trouble, orders are to be heard again after it
                log.error("listening failed: %s", error)
                pause_s = self._joined.heartbeat_s
            self._ending.wait(pause_s)

    def _call(self, batch: ActiveBatch | None, known: HeartbeatAnswer) -> Listen:
        return Listen(
            incarnation=self._joined.incarnation,
            batch_id=batch and batch.lease.batch_id,
            token=batch and batch.lease.token,
            known=known,
            wait_s=self._joined.claim_wait_s,
        )


def log_orders(answer: HeartbeatAnswer, known: HeartbeatAnswer) -> None:
    """Log what is new in an answer."""
    if (answer.order, answer.reason) != (known.order, known.reason):
        log.info("received order: %s%s", answer.order, f" ({answer.reason})" if answer.reason else "")
    if dropped := set(answer.cancelled) - set(known.cancelled):
        log.info("received order: drop images (%d)", len(dropped))
