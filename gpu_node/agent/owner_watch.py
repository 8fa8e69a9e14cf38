"""The owner's part in a running node: gives the card back when the owner wants it, and tells the farm."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.errors import Conflict, FarmError
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.orders import OVER
from gpu_node.agent.progress import ActiveBatch, Progress
from gpu_node.errors import RenderError
from gpu_node.policy import PauseReason
from gpu_node.status import BatchStatus, NodeStatus, StatusFile

log = logging.getLogger(__name__)

#: Seconds between looks: the card is to be free within two.
_LOOK_S = 1.0
#: Seconds in which images that are finished may still be uploaded before the farm hears of a pause.
_UPLOADS_S = 5.0
#: Seconds before a farm that did not take the news is told again.
_AGAIN_S = 5.0


class OwnerWatch:
    """`look` tells why the owner wants the card now, if so.

    Without a connection the card is free all the same, and the farm hears of it later.
    """

    def __init__(
        self,
        look: Callable[[], PauseReason | None],
        engine: EngineClient,
        progress: Progress,
        coordinator: Coordinator,
        status: StatusFile,
        *,
        node: str,
        farm: str,
    ) -> None:
        self.look, self._status = look, status
        self._engine, self._progress, self._coordinator = engine, progress, coordinator
        self._node, self._farm = node, farm
        self._reason: PauseReason | None = None
        self._told = status.told
        self._has_joined = False
        self._over = threading.Event()
        #: Set when the farm may have to be told something.
        self._news = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch; from the first line of the block on, the card is free if it should be."""
        self._look_once()
        for work in (self._watch, self._keep_farm_told):
            threading.Thread(target=work, name="owner", daemon=True).start()
        try:
            yield
        finally:
            self._over.set()
            self._news.set()

    def joined(self) -> None:
        """The farm knows the node from now on; what it was told of a pause may be lost."""
        self._has_joined = True
        if self._reason is not None:
            self._told = None
        self._news.set()

    def leased(self, active: ActiveBatch) -> None:
        """Hand back a batch that the farm granted before it heard of the pause, or after a resume there."""
        if self._reason is not None:
            active.give_up(self._reason.told)
            self._told = None
            self._news.set()

    def ended(self, active: ActiveBatch) -> None:
        """Count a batch that is over."""
        worked = active.worked
        self._status.add(active.delivered, worked.seconds, worked.joules)

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            try:
                self._look_once()
            except Exception as error:  # whatever the trouble, an owner must have the card back after it
                log.error("the settings of the owner cannot be followed: %s", error)

    def _look_once(self) -> None:
        before, self._reason = self._reason, self.look()
        if self._reason is not None and before is None:
            self._begin(self._reason)
        elif self._reason is None and before is not None:
            log.info("the owner does not need the card any more")
            self._engine.resume("owner")
        if self._wanted() != self._told:
            self._news.set()
        self._status.write(self._now())

    def _begin(self, reason: PauseReason) -> None:
        if (batch := self._progress.batch) is not None:
            batch.give_up(reason.told)
        try:
            self._engine.suspend("owner")
        except RenderError as error:
            log.error("%s", error)
        log.info("paused (%s); the GPU is free", reason.shown)

    def _wanted(self) -> str | None:
        return self._reason.told if self._reason is not None else None

    def _keep_farm_told(self) -> None:
        while not self._over.is_set():
            self._news.wait()
            self._news.clear()
            wanted = self._wanted()
            if self._has_joined and wanted != self._told and not self._tell(wanted):
                self._over.wait(_AGAIN_S)
                self._news.set()

    def _tell(self, wanted: str | None) -> bool:
        """Whether the farm knows."""
        # At once: whoever finds meanwhile that the farm has to be told again says so here.
        before, self._told = self._told, wanted
        try:
            if wanted is None:
                self._coordinator.resume(self._node)
            else:
                self._finish_uploads()
                self._coordinator.pause(self._node, wanted)
        except (Conflict, *OVER):
            # It is paused by the operator, or not at all, or has to join again: nothing to be told.
            pass
        except FarmError as error:
            log.warning("the farm could not be told of a pause or its end: %s", error)
            self._told = before
            return False
        return True

    def _finish_uploads(self) -> None:
        """The farm ends a batch with the pause; what it has of it before counts."""
        waited_s = 0.0
        while self._progress.batch is not None and waited_s < _UPLOADS_S and not self._over.wait(0.1):
            waited_s += 0.1

    def _now(self) -> NodeStatus:
        batch, reading = self._progress.batch, self._progress.reading()
        if batch is None:
            today, work = self._status.today(), None
        else:
            worked = batch.worked
            today = self._status.today(batch.delivered, worked.seconds, worked.joules)
            work = BatchStatus(
                model=batch.lease.model,
                owner=batch.lease.owner,
                images=len(batch.lease.shots),
                delivered=batch.delivered,
                phase=batch.phase,
                seconds=round(worked.seconds),
            )
        return NodeStatus(
            node=self._node,
            farm=self._farm,
            paused=self._reason.shown if self._reason is not None else "",
            told=self._told,
            work=work,
            doing=batch.doing if batch is not None else self._progress.doing,
            watts=reading.watts,
            temperature_c=reading.temperature_c,
            today=today,
        )
