"""What each node was measured to need for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from coordinator.ledger.engine import upsert_all
from coordinator.ledger.schema import speeds
from coordinator.ledger.transactions import Write

#: Weight of the newest image in the moving average.
_NEWEST = 0.2


class Pace(NamedTuple):
    """What one image took."""

    node_id: str
    model: str
    #: For a megapixel-forward.
    seconds: float


def learn(write: Write, paces: Sequence[Pace]) -> None:
    """Take images' seconds into the averages for their nodes and models, in this order."""
    paces = [pace for pace in paces if pace.seconds]
    if not paces:
        return
    known = select(speeds).where(speeds.c.node_id.in_({pace.node_id for pace in paces}))
    averages = {(row.node_id, row.model): row.seconds for row in write.connection.execute(known)}
    changed: dict[tuple[str, str], dict[str, Any]] = {}
    for node_id, model, seconds in paces:
        write.touch(node_id)
        before = averages.get((node_id, model), seconds)
        after = averages[node_id, model] = before + _NEWEST * (seconds - before)
        changed[node_id, model] = {"node_id": node_id, "model": model, "seconds": after}
    upsert_all(write.connection, speeds, ("node_id", "model"), list(changed.values()))
