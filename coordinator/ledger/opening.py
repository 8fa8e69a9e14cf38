"""Opening: the work of active jobs enters the backlog, from the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, select

from common.states import AttemptState, BatchState
from coordinator.ledger.costs import CARD_SECONDS
from coordinator.ledger.database import columns_of
from coordinator.ledger.fleet import members
from coordinator.ledger.job_rows import job_row
from coordinator.ledger.measurements import recall_types
from coordinator.ledger.schema import attempts, batches, jobs, plain, shots
from coordinator.ledger.standings import recall_standings
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import chunks, drop_all_unwanted
from coordinator.ledger.usage import recall_usage
from coordinator.ledger.waiting import amounts, samples
from coordinator.scheduling.changes import BatchFound, JobOpened, NodesChanged, ShotsWaiting
from coordinator.scheduling.running import RunningBatch
from coordinator.scheduling.work import Amounts, OpenJob


def open_job(write: Write, job_id: str) -> None:
    """Open a job for claims after this commit, if it is active and completely submitted."""
    row = job_row(write.connection, job_id)
    if row.intent == "active" and row.complete:
        _open(write, [row], amounts(write.connection, job_id))


def open_jobs(write: Write) -> None:
    """Open every active job, with the recent use of each owner.

    Reads only waiting shots, not all wants: finished jobs remain active, because their shots may be
    requested again.
    """
    # A cancellation may have been interrupted between its chunks.
    drop_all_unwanted(write)
    recall_usage(write)
    recall_types(write)
    recall_standings(write)
    write.changes.append(NodesChanged(members(write.connection, write.lanes)))
    columns = (
        jobs.c.id,
        jobs.c.owner,
        jobs.c.lane,
        jobs.c.priority,
        jobs.c.submitted_at,
        jobs.c.max_cost,
        jobs.c.cost,
        jobs.c.eco,
        jobs.c.verifies,
    )
    active: Select[Any] = select(*columns).where(
        jobs.c.intent == "active", jobs.c.complete, jobs.c.thinning_at.is_(None)
    )
    rows = write.connection.execute(active.order_by(jobs.c.submitted_at)).all()
    _open(write, rows, amounts(write.connection))


def _open(write: Write, rows: Sequence[Row[Any]], lines: Amounts) -> None:
    running = _running(write.connection, write.now)
    known = samples(
        write.connection, {line.work_key for line in lines} | {one.batch.work_key for one in running}
    )
    reserved = _in_hand(write.connection)
    for row in rows:
        job = OpenJob(
            **columns_of(
                row, "owner", "lane", "priority", "submitted_at", "max_cost", "cost", "eco", "verifies"
            ),
            reserved=reserved.get(row.id, {}),
        )
        write.changes.append(JobOpened(row.id, job))
    write.changes += running
    write.changes.append(ShotsWaiting(lines, known))


def _running(connection: Connection, now: float) -> list[BatchFound]:
    """Every active batch with unfinished shots, as if its node began with the first of them now."""
    columns = (batches.c[name] for name in ("id", "node_id", "job_id", "work_key", "pass_size", "duplicates"))
    leased = select(*columns).where(batches.c.state == plain(BatchState.LEASED))
    found = {row.id: row for row in connection.execute(leased)}
    running: list[BatchFound] = []
    for some in chunks(list(found)):
        runs = attempts.c.state == plain(AttemptState.RUNNING)
        left, least = func.count(case((runs, 1))), func.max(case((runs, shots.c.min_class)))
        unfinished: Select[Any] = (
            select(
                attempts.c.batch_id,
                left.label("left"),
                least.label("min_class"),
                func.sum(CARD_SECONDS).label("told_s"),
            )
            .join_from(attempts, shots)
            .where(attempts.c.batch_id.in_(some))
            .group_by(attempts.c.batch_id)
            .having(left > 0)
        )
        for rest in connection.execute(unfinished):
            row = found[rest.batch_id]
            facts = columns_of(row, "id", "job_id", "work_key", "pass_size", "duplicates")
            facts |= columns_of(rest, "left", "min_class", "told_s")
            running.append(BatchFound(row.node_id, RunningBatch(**facts, since=now, image_s=None)))
    return running


def _in_hand(connection: Connection) -> dict[str, dict[str, float]]:
    """Estimated cost of each active batch, by job."""
    leased = batches.c.state == plain(BatchState.LEASED), batches.c.estimate > 0
    found: dict[str, dict[str, float]] = {}
    for row in connection.execute(select(batches.c.id, batches.c.job_id, batches.c.estimate).where(*leased)):
        found.setdefault(row.job_id, {})[row.id] = row.estimate
    return found
