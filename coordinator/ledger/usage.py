"""What owners had of the farm lately, as the backlog's fair share counts it.

A batch in hand counts at its estimate; once it is over, what its rows say that it took.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from common.states import BatchState
from coordinator.ledger.costs import CARD_PHASES
from coordinator.ledger.schema import attempts, batches, jobs
from coordinator.ledger.transactions import Write
from coordinator.scheduling.backlog import OwnerServed
from coordinator.scheduling.fairness import HALF_LIFE_S, REMEMBERED


def recall_usage(write: Write) -> None:
    """Tell a new backlog of every batch that was leased of late; one in hand counts as far as reported."""
    recent = batches.c.leased_at > write.now - REMEMBERED * HALF_LIFE_S
    for row in write.connection.execute(_taken().where(recent)):
        in_hand = row.id if row.state == BatchState.LEASED else None
        write.changes.append(OwnerServed(row.owner, row.seconds, row.leased_at, in_hand))


def taken_seconds(write: Write, batch_id: str) -> float:
    """What a batch took in all, as its rows say."""
    row = write.connection.execute(_taken().where(batches.c.id == batch_id)).one()
    return float(row.seconds)


def add_late_usage(write: Write, batch_id: str, seconds: float) -> None:
    """Count what a node went on to spend on a batch that is settled."""
    row = write.connection.execute(_taken().where(batches.c.id == batch_id)).one()
    write.changes.append(OwnerServed(row.owner, seconds, row.leased_at))


def _taken() -> Select[Any]:
    """Batches with their owner and `seconds` of a card: loading, reported attempts, and what was lost."""
    rendering = (attempts.c[f"{phase}_s"] for phase in CARD_PHASES if phase != "load")
    seconds = batches.c.load_s + batches.c.lost_s + func.sum(sum(rendering))
    return (
        select(batches.c.id, batches.c.state, batches.c.leased_at, jobs.c.owner, seconds.label("seconds"))
        .select_from(batches.join(jobs).join(attempts, attempts.c.batch_id == batches.c.id))
        .group_by(batches.c.id, jobs.c.owner)
    )
