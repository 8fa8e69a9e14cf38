"""Deadlines of leases: a node that reports no shot for too long loses its batch, however it heartbeats.

A report costs nothing here: a lease that is due is looked up, and goes on if shots of it were reported since.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Row, func, select, update

from common.failures import Blame, Failure, failure
from common.settings import Timing
from common.states import AttemptState, BatchState
from common.units import format_seconds
from coordinator.ledger.endings import whole_batch
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, plain
from coordinator.ledger.transactions import Write

#: How many times as long as expected a batch may take until its first shot is reported, and then each other.
_SLOWER = 5.0
#: How many times as long as a node expects it may fetch a model, and seconds of that at the most.
_FETCHING, _LONGEST_FETCH_S = 2.0, 6 * 3600.0


class LeaseDeadline(NamedTuple):
    #: Seconds since 1970.
    due_at: float
    #: By which each report of a shot moves it.
    patience_s: float


def lease_deadline(
    timing: Timing, now: float, *, load_s: float, work_s: float | None, pass_size: int
) -> LeaseDeadline:
    """That of a lease which begins now.

    `load_s` are the expected seconds of fetching and loading its model; `work_s` of rendering all of it, None
    if nothing tells. No pass may take longer than `hard_limit_s` for each of its images.
    """
    most_s = timing.hard_limit_s * pass_size
    patience_s = most_s if work_s is None else min(most_s, max(timing.stall_render_s, _SLOWER * work_s))
    begin_s = timing.stall_load_s + min(_FETCHING * load_s, _LONGEST_FETCH_S)
    return LeaseDeadline(now + begin_s + patience_s, patience_s)


class Overdue(NamedTuple):
    """A lease that ends."""

    #: Of `whole_batch`.
    batch: Row[Any]
    failure: Failure
    message: str


def overdue(write: Write, rules: Rules) -> list[Overdue]:
    """The leases whose deadline is over; those that may go on have a new one."""
    late = batches.c.state == plain(BatchState.LEASED), batches.c.due_at < write.now
    found = []
    for batch in write.connection.execute(whole_batch().where(*late)).all():
        # During an incident nodes could not deliver.
        excused_at = rules.incident.until if rules.incident.lasts(write.now) else rules.incident.ended_at
        last_at = max(_last_report(write, batch), excused_at)
        until = last_at + batch.patience_s
        if until > write.now:
            mine = update(batches).where(batches.c.id == batch.id)
            write.connection.execute(mine.values(due_at=until))
        else:
            found.append(_ended(batch, last_at, rules, write.now))
    return found


def _ended(batch: Row[Any], last_at: float, rules: Rules, now: float) -> Overdue:
    message = f"the node delivered nothing for {format_seconds(now - last_at)}"
    met = failure("overdue")
    if rules.incident.delivered_at <= last_at:
        # No other node delivered either: what is wrong may be the farm.
        met = replace(met, blame=Blame.FARM)
    return Overdue(batch, met, message)


def _last_report(write: Write, batch: Row[Any]) -> float:
    """When the last of its shots was reported; else when the lease began."""
    told = attempts.c.state.not_in((AttemptState.RUNNING, AttemptState.RELEASED))
    # Of what was not judged yet, and of what was.
    moments = select(func.max(attempts.c.asked_at), func.max(attempts.c.settled_at))
    row = write.connection.execute(moments.where(attempts.c.batch_id == batch.id, told)).one()
    known: list[float] = [moment for moment in (batch.leased_at, *row) if moment is not None]
    return max(known)
