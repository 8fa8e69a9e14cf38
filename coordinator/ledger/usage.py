"""Recent card time of owners, which determines the fair share.

An active batch counts at its estimate; after its end, with the time in its rows.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from common.states import BatchState
from coordinator.ledger.costs import CARD_PHASES
from coordinator.ledger.schema import attempts, batches, jobs
from coordinator.ledger.transactions import Write
from coordinator.scheduling.changes import OwnerServed
from coordinator.scheduling.fairness import HALF_LIFE_S, REMEMBERED


def recall_usage(write: Write) -> None:
    """Load recent batches into a new backlog; an active batch counts with its reported time."""
    recent = batches.c.leased_at > write.now - REMEMBERED * HALF_LIFE_S
    for row in write.connection.execute(_taken().where(recent)):
        in_hand = row.id if row.state == BatchState.LEASED else None
        write.changes.append(OwnerServed(row.owner, row.seconds, row.leased_at, in_hand))


def add_late_usage(write: Write, batch_id: str, seconds: float) -> None:
    """Count time that a node spent on a batch after it was settled."""
    row = write.connection.execute(_taken().where(batches.c.id == batch_id)).one()
    write.changes.append(OwnerServed(row.owner, seconds, row.leased_at))


def _taken() -> Select[Any]:
    """Batches with owner and `seconds` of card time: loading, reported attempts, and lost work."""
    rendering = (attempts.c[f"{phase}_s"] for phase in CARD_PHASES if phase != "load")
    seconds = batches.c.load_s + batches.c.lost_s + func.sum(sum(rendering))
    return (
        select(batches.c.id, batches.c.state, batches.c.leased_at, jobs.c.owner, seconds.label("seconds"))
        .select_from(batches.join(jobs).join(attempts, attempts.c.batch_id == batches.c.id))
        .group_by(batches.c.id, jobs.c.owner)
    )
