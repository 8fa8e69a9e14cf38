"""The table of waiting shots, one row per job that wants one, so that a claim reads only what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from common.embeddings import Embedded
from common.states import ShotState
from coordinator.ledger.schema import plain, shots, waiting, wants, works
from coordinator.ledger.specs import shot_of
from coordinator.ledger.transactions import Write
from coordinator.scheduling.changes import ShotsTaken, ShotsWaiting
from coordinator.scheduling.work import Amounts, Line, WorkSample

_LINE = (waiting.c.job_id, waiting.c.work_key, waiting.c.min_class)


def begin_waiting(write: Write, *among: Any, brings_work: bool = True) -> None:
    """Add waiting rows for these wants whose shots wait; `among` are conditions on `wants` and `shots`.

    `brings_work`: whether a waiting claim may get work after the commit.
    """
    columns = (
        wants.c.job_id,
        shots.c.work_key,
        shots.c.min_class,
        shots.c.crashes,
        wants.c.position,
        shots.c.id,
    )
    wanted = (
        select(*columns)
        .select_from(wants.join(shots))
        .where(wants.c.again.is_(False), shots.c.state == plain(ShotState.WAITING), *among)
    )
    rows = write.connection.execute(insert(waiting).from_select(list(waiting.c), wanted).returning(*_LINE))
    lines = _counted(rows)
    if lines:
        known = samples(write.connection, {line.work_key for line in lines})
        write.changes.append(ShotsWaiting(lines, known, brings_work))


def cease_waiting(write: Write, shot_ids: Collection[str]) -> Amounts:
    """Remove the waiting rows of these shots, one for each job that wants one; returns their number."""
    gone = delete(waiting).where(waiting.c.shot_id.in_(shot_ids)).returning(*_LINE)
    lines = _counted(write.connection.execute(gone))
    if lines:
        write.changes.append(ShotsTaken(lines))
    return lines


def amounts(connection: Connection, job_id: str | None = None) -> Amounts:
    """Number of waiting shots of one job, or of all jobs."""
    query = select(*_LINE, func.count()).group_by(*_LINE)
    if job_id is not None:
        query = query.where(waiting.c.job_id == job_id)
    return {Line(*line): images for *line, images in connection.execute(query)}


def samples(connection: Connection, work_keys: Collection[str]) -> dict[str, WorkSample]:
    rows = connection.execute(select(works).where(works.c.key.in_(work_keys)))
    return {
        row.key: WorkSample(
            row.model,
            tuple(row.loras),
            row.amount,
            row.forwards,
            shot_of(row.sample),
            Embedded(**row.embedded) if row.embedded else None,
        )
        for row in rows
    }


def _counted(rows: Iterable[Any]) -> Amounts:
    return Counter(Line(*row) for row in rows)
