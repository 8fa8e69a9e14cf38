"""Leadership: a row whose epoch every write checks; a coordinator that was replaced can write no more."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from common.errors import Unavailable
from coordinator.ledger.schema import leader


def take(connection: Connection) -> int:
    """Lead from now on; returns the epoch to check against."""
    epoch: int | None = connection.scalar(select(leader.c.epoch).with_for_update())
    if epoch is None:
        connection.execute(insert(leader), [{"id": 1, "epoch": 1}])
        return 1
    connection.execute(update(leader).values(epoch=epoch + 1))
    return epoch + 1


def check(connection: Connection, epoch: int) -> None:
    """Raises Unavailable when another coordinator has taken over; holds it off until the transaction ends."""
    if connection.scalar(select(leader.c.epoch).with_for_update()) != epoch:
        raise Unavailable("another coordinator leads this ledger; this one must be stopped or started again")
