"""The call that is always held at the coordinator, so that its orders arrive at once."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from common.errors import Gone, NotFound, OtherVersion, Unavailable
from common.messages import BeatAnswer, Joined, Listen
from gpu_node.coordinator_client import Coordinator
from gpu_node.progress import BatchInHand, Progress
from gpu_node.steering import Steering

log = logging.getLogger(__name__)

#: Seconds between an answer and the next call: a server that answers at once is not flooded.
_BREATH_S = 0.1
#: Seconds before a coordinator that does not answer is called again: orders are to be heard within 2.
_AWAY_S = 1.0


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
        """Listen for the batch in hand now, or for none; the coordinator ends the call about another."""
        batch = self._progress.batch
        threading.Thread(target=self._run, args=(batch,), name="listener", daemon=True).start()

    def _run(self, batch: BatchInHand | None) -> None:
        known = BeatAnswer(order="go on")
        while not self._ending.is_set() and self._progress.batch is batch:
            pause_s = _BREATH_S
            try:
                answer = self._coordinator.listen(self._joined.node_id, self._call(batch, known))
                _say(answer, known)
                known = answer
                self._steering.obey(batch, known)
            except (Gone, NotFound, OtherVersion) as error:
                self._steering.end(str(error))
                return
            except Unavailable:  # the heartbeat says so
                pause_s = _AWAY_S
            except Exception as error:  # whatever the trouble, orders are to be heard again after it
                log.error("listening failed: %s", error)
                pause_s = self._joined.heartbeat_s
            self._ending.wait(pause_s)

    def _call(self, batch: BatchInHand | None, known: BeatAnswer) -> Listen:
        return Listen(
            incarnation=self._joined.incarnation,
            batch_id=batch and batch.lease.batch_id,
            token=batch and batch.lease.token,
            known=known,
            wait_s=self._joined.claim_wait_s,
        )


def _say(answer: BeatAnswer, known: BeatAnswer) -> None:
    """Log what is new in an answer."""
    if (answer.order, answer.reason) != (known.order, known.reason):
        log.info("heard: %s%s", answer.order, f" ({answer.reason})" if answer.reason else "")
    if dropped := set(answer.cancelled) - set(known.cancelled):
        log.info("heard: %d of the batch's images are cancelled", len(dropped))
