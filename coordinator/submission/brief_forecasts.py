"""Forecasts that the coordinator makes itself: one at a time, and briefly, as claims need the processor."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.scopes import Bounds
from common.settings import Settings
from common.views import BacklogView, NodeView, StoredShots
from coordinator.ledger import Ledger
from coordinator.submission.forecast import with_forecast, without_forecast
from coordinator.submission.plan import PlannedManifest

#: Images of a manifest that is simulated at the most.
_MOST = 20_000
#: Seconds of a simulation, and for which one waits for another.
_WITHIN_S = 0.5


@dataclass(frozen=True, slots=True)
class _Here:
    """The farm of this ledger, as far as a call may see what is stored."""

    ledger: Ledger
    bounds: Bounds | None

    def stored(self, shot_ids: Sequence[str], texts: Sequence[str]) -> StoredShots:
        images = self.ledger.images.stored(shot_ids, self.bounds and self.bounds.lanes)
        return StoredShots(ids=tuple(images), texts=dict(self.ledger.embeddings.stored(texts)))

    def backlog(self) -> BacklogView:
        return self.ledger.backlog.view()


@dataclass(frozen=True, slots=True)
class BriefForecasts:
    """Thread-safe."""

    ledger: Ledger
    settings: Settings
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self, planned: PlannedManifest, nodes: Sequence[NodeView], owner: str, bounds: Bounds | None
    ) -> PlannedManifest:
        """Returns the plan with a forecast, or with the reason why it has none; `nodes` are in service.

        `bounds` limit what is said: a time contains the work of others, but no word names it.
        """
        if len(planned.expansion) > _MOST:
            return without_forecast(
                planned, f"beyond {_MOST:,} images, only `farm plan --farm` simulates them"
            )
        if not self._lock.acquire(timeout=_WITHIN_S):
            return without_forecast(planned, "the farm simulates other plans; plan again in a moment")
        try:
            here = _Here(self.ledger, bounds)
            found = with_forecast(planned, here, nodes, self.settings, owner=owner, within_s=_WITHIN_S)
        finally:
            self._lock.release()
        if bounds is not None and found.report.no_forecast:
            # It may name what others wait for.
            return without_forecast(planned, "nothing tells how long all that waits takes")
        return found
