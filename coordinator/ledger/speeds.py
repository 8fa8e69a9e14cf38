"""What each node was measured to need for a model."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from common.messages import Spent
from coordinator.ledger.charges import card_seconds
from coordinator.ledger.schema import speeds
from coordinator.ledger.transactions import Write

#: Weight of the newest image in the moving average.
_NEWEST = 0.2


def learn(write: Write, node_id: str, model: str, amount: float, spent: Spent) -> None:
    """Take one image's seconds into the average for its node and model; `amount` in megapixel-forwards."""
    seconds = card_seconds(spent.seconds) / amount
    if seconds == 0:
        return
    write.touch(node_id)
    mine = speeds.c.node_id == node_id, speeds.c.model == model
    known = write.connection.scalar(select(speeds.c.seconds).where(*mine))
    if known is None:
        write.connection.execute(insert(speeds), [{"node_id": node_id, "model": model, "seconds": seconds}])
    else:
        average = known + _NEWEST * (seconds - known)
        write.connection.execute(update(speeds).where(*mine).values(seconds=average))
