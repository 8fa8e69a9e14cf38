"""The thread that says the node lives, renews the lease it holds and hears what becomes of it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from common.errors import Unavailable
from common.messages import Joined
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.offers import Offers
from gpu_node.agent.orders import OVER, Steering
from gpu_node.agent.progress import Progress

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class HeartbeatThread:
    """Beats every `joined.heartbeat_s` while it is entered, and at once where that is urgent.

    A node that parks beats while it has a batch.

    A coordinator that does not answer changes nothing: the batch goes on, since only the coordinator can
    tell that a lease is over, and what a late node says is refused by its token.
    """

    coordinator: Coordinator
    joined: Joined
    progress: Progress
    steering: Steering
    offers: Offers
    _ending: threading.Event = field(init=False, default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)
    _away: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.progress.urgent.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.progress.urgent.wait(self.joined.heartbeat_s)
            self.progress.urgent.clear()
            if self._ending.is_set():
                return
            if self.progress.batch is None and not self.joined.broker_url:
                # Its parked call stands for it.
                continue
            try:
                self._beat()
            except Unavailable as error:
                self._log_unreachable(str(error))
            except Exception as error:  # a thread that ended would cost the lease, whatever the trouble
                log.error("a heartbeat failed: %s", error)

    def _beat(self) -> None:
        batch = self.progress.batch
        beat = self.progress.heartbeat(self.joined.incarnation)
        try:
            answer = self.coordinator.heartbeat(self.joined.node_id, beat)
        except OVER as error:
            self._ending.set()
            self.steering.end(str(error))
        else:
            self._away = False
            self.steering.heed(batch, answer)
            self.offers.hear(answer.catalog_version)

    def _log_unreachable(self, why: str) -> None:
        if not self._away:
            log.warning("%s; retrying", why)
        self._away = True
