"""The thread that says the node lives, renews the lease it holds and hears what becomes of it."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from common.errors import Gone, NotFound, OtherVersion, Unavailable
from common.messages import Joined
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.offers import Offers
from gpu_node.agent.orders import Steering
from gpu_node.agent.progress import Progress

log = logging.getLogger(__name__)


class HeartbeatThread:
    """Beats every `joined.heartbeat_s` while it is entered, and at once where that is urgent.

    A coordinator that does not answer changes nothing: the batch goes on, since only the coordinator can
    tell that a lease is over, and what a late node says is refused by its token.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        joined: Joined,
        progress: Progress,
        steering: Steering,
        offers: Offers,
    ) -> None:
        self._coordinator = coordinator
        self._joined = joined
        self._progress = progress
        self._steering = steering
        self._offers = offers
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._away = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._progress.urgent.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._progress.urgent.wait(self._joined.heartbeat_s)
            self._progress.urgent.clear()
            if self._ending.is_set():
                return
            try:
                self._beat()
            except Unavailable as error:
                self._log_unreachable(str(error))
            except Exception as error:  # a thread that ended would cost the lease, whatever the trouble
                log.error("a heartbeat failed: %s", error)

    def _beat(self) -> None:
        batch = self._progress.batch
        beat = self._progress.heartbeat(self._joined.incarnation)
        try:
            answer = self._coordinator.heartbeat(self._joined.node_id, beat)
        except (Gone, NotFound, OtherVersion) as error:
            self._ending.set()
            self._steering.end(str(error))
        else:
            self._away = False
            self._steering.heed(batch, answer)
            self._offers.hear(answer.catalog_version)

    def _log_unreachable(self, why: str) -> None:
        if not self._away:
            log.warning("%s; retrying", why)
        self._away = True
