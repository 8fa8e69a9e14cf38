"""Jobs: operations of users on jobs, which affect the wants of the job and thereby its shots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, String, bindparam, func, select, update

from common.errors import Conflict, Gone, NotFound
from common.exports import Export, JobExports
from common.states import AttemptState, BatchState, ShotState
from coordinator.ledger.database import columns_of
from coordinator.ledger.failure_policy import pause
from coordinator.ledger.fleet import members
from coordinator.ledger.measurements import recall_types
from coordinator.ledger.schema import attempts, batches, jobs, plain, shots, wants
from coordinator.ledger.shots import find_shot, give_fresh_start
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import (
    ACCEPTED,
    CANCELLED,
    RESUMED,
    chunks,
    counted_as,
    drop_all_unwanted,
    drop_unwanted,
    note_job,
)
from coordinator.ledger.usage import recall_usage
from coordinator.ledger.waiting import amounts, samples
from coordinator.scheduling.changes import (
    BatchFound,
    JobClosed,
    JobOpened,
    JobPrioritised,
    NodesChanged,
    ShotsWaiting,
)
from coordinator.scheduling.running import RunningBatch
from coordinator.scheduling.work import Amounts, OpenJob

#: All columns of a job but its manifest, which may have megabytes: only `manifest_of` reads it.
JOB: Final = tuple(column for column in jobs.c if column.name != "manifest")
#: Built once, as nearly every call about a job reads it.
_JOB_ROW: Final = select(*JOB).where(jobs.c.id == bindparam("job", type_=String))


def job_row(connection: Connection, job_id: str) -> Row[Any]:
    row = connection.execute(_JOB_ROW, {"job": job_id}).one_or_none()
    if row is None:
        raise NotFound(f"no job {job_id}; `farm jobs` lists them")
    return row


def manifest_of(connection: Connection, job_id: str) -> str:
    """The manifest of a job as it was submitted. Raises NotFound."""
    job_row(connection, job_id)
    return str(connection.scalar(select(jobs.c.manifest).where(jobs.c.id == job_id)))


def detailed_job(connection: Connection, job_id: str) -> Row[Any]:
    """The row of a job with details. Raises NotFound, or Gone if retention has removed them."""
    row = job_row(connection, job_id)
    if row.thinning_at is not None:
        raise Gone(f"job {job_id} ended on {_day(row.ended_at)}: {details_removed(row.thinning_at)}")
    return row


def job_exports(row: Row[Any]) -> JobExports:
    """The files of the images of a job."""
    return tuple((first, tuple(Export(**each) for each in exports)) for first, exports in row.exports)


def details_removed(at: float) -> str:
    """What retention has removed of a job, when, and what to do."""
    return (
        f"its shots, attempts and events were removed on {_day(at)} (setting `retention.details_days`); "
        "submit its manifest again to get its images, stored ones are reused"
    )


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


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
    write.changes.append(NodesChanged(members(write.connection)))
    columns = (
        jobs.c.id,
        jobs.c.owner,
        jobs.c.lane,
        jobs.c.priority,
        jobs.c.submitted_at,
        jobs.c.max_cost,
        jobs.c.cost,
        jobs.c.eco,
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
            **columns_of(row, "owner", "lane", "priority", "submitted_at", "max_cost", "cost", "eco"),
            reserved=reserved.get(row.id, {}),
        )
        write.changes.append(JobOpened(row.id, job))
    write.changes += running
    write.changes.append(ShotsWaiting(lines, known))


def cancel_cut_off(write: Write) -> None:
    """Cancel interrupted submissions after a start."""
    cut_off = select(jobs.c.id).where(jobs.c.complete.is_(False), jobs.c.intent != "cancelled")
    for job_id in write.connection.scalars(cut_off).all():
        reason = "the coordinator stopped while it was submitted; submit it again"
        drop_unwanted(write, cancel_job(write, job_id, reason))


def _running(connection: Connection, now: float) -> list[BatchFound]:
    """Every active batch with unfinished shots, as if its node began with the first of them now."""
    columns = (batches.c[name] for name in ("id", "node_id", "job_id", "work_key", "pass_size", "duplicates"))
    leased = select(*columns).where(batches.c.state == plain(BatchState.LEASED))
    found = {row.id: row for row in connection.execute(leased)}
    running: list[BatchFound] = []
    for some in chunks(list(found)):
        unfinished: Select[Any] = (
            select(attempts.c.batch_id, func.count(), func.max(shots.c.min_class))
            .join_from(attempts, shots)
            .where(attempts.c.batch_id.in_(some), attempts.c.state == plain(AttemptState.RUNNING))
            .group_by(attempts.c.batch_id)
        )
        for batch_id, left, min_class in connection.execute(unfinished):
            row = found[batch_id]
            batch = RunningBatch(
                id=batch_id,
                job_id=row.job_id,
                work_key=row.work_key,
                min_class=min_class,
                left=left,
                pass_size=row.pass_size,
                since=now,
                image_s=None,
                duplicates=row.duplicates,
            )
            running.append(BatchFound(row.node_id, batch))
    return running


def _in_hand(connection: Connection) -> dict[str, dict[str, float]]:
    """Estimated cost of each active batch, by job."""
    leased = batches.c.state == plain(BatchState.LEASED), batches.c.estimate > 0
    found: dict[str, dict[str, float]] = {}
    for row in connection.execute(select(batches.c.id, batches.c.job_id, batches.c.estimate).where(*leased)):
        found.setdefault(row.job_id, {})[row.id] = row.estimate
    return found


def cancel_job(write: Write, job_id: str, reason: str = "") -> list[str]:
    """Cancel a job; returns its shots for `drop_unwanted`."""
    job_row(write.connection, job_id)
    since = func.coalesce(jobs.c.paused_at, write.now)
    _set(write, job_id, intent="cancelled", reason=reason, paused_at=since)
    write.ordered.update(_holders_of_cancelled(write.connection))
    write.changes.append(JobClosed(job_id))
    note_job(write, job_id, CANCELLED, reason)
    mine = select(wants.c.shot_id).where(wants.c.job_id == job_id, wants.c.again.is_(False))
    return list(write.connection.scalars(mine))


def _holders_of_cancelled(connection: Connection) -> Sequence[str]:
    """Nodes with a batch of a cancelled job; another job may have wanted shots of it until now."""
    leased = batches.c.state == plain(BatchState.LEASED), jobs.c.intent == "cancelled"
    return connection.scalars(select(batches.c.node_id).join_from(batches, jobs).where(*leased)).all()


def pause_job(write: Write, job_id: str, reason: str) -> None:
    _must_live(detailed_job(write.connection, job_id))
    pause(write, job_id, reason)


def resume_job(write: Write, job_id: str) -> None:
    job = detailed_job(write.connection, job_id)
    _must_live(job)
    if job.intent != "active":
        _continue(write, job)
        open_job(write, job_id)


def prioritise_job(write: Write, job_id: str, priority: int) -> None:
    job_row(write.connection, job_id)
    _set(write, job_id, priority=priority)
    write.changes.append(JobPrioritised(job_id, priority))


def retry_job(write: Write, job_id: str) -> int:
    """See `Ledger.retry_job`."""
    _must_live(detailed_job(write.connection, job_id))
    if not _shots_in(write.connection, job_id, ShotState.FAILED):
        # A pause for another reason remains.
        return 0
    return _begin_anew(write, job_id, ShotState.FAILED)


def requeue_job(write: Write, job_id: str) -> int:
    """See `Ledger.requeue_job`."""
    if not detailed_job(write.connection, job_id).complete:
        raise Conflict(f"job {job_id} was never submitted completely; submit it again")
    _accept(write, [job_id], wants.c.accepted.is_(True), accepted=False)
    return _begin_anew(write, job_id, ShotState.FAILED, ShotState.CANCELLED, ShotState.UNSCHEDULABLE)


def _begin_anew(write: Write, job_id: str, *states: ShotState) -> int:
    """Reset the shots of a job in these states, and continue the job."""
    _continue(write, job_row(write.connection, job_id))
    _set(write, job_id, ended_at=None)
    moved = 0
    for state in states:
        ids = _shots_in(write.connection, job_id, state)
        give_fresh_start(write, ids, state, job_id)
        moved += len(ids)
    open_job(write, job_id)
    return moved


def _continue(write: Write, job: Row[Any]) -> None:
    """Make a job active, and count the time in which it was paused, cancelled or over."""
    since = job.paused_at if job.intent != "active" else job.ended_at
    rest_s = 0.0 if since is None else max(0.0, write.now - since)
    _set(write, job.id, intent="active", reason="", paused_at=None, paused_s=jobs.c.paused_s + rest_s)
    note_job(write, job.id, RESUMED)


def accept_failures(write: Write, job_id: str) -> int:
    """See `Ledger.accept_failures`."""
    detailed_job(write.connection, job_id)
    ids = _shots_in(write.connection, job_id, ShotState.FAILED)
    for some in chunks(ids):
        _accept(write, [job_id], wants.c.shot_id.in_(some))
    return len(ids)


def accept_shot(write: Write, shot_id: str, job_id: str | None, owner: str | None) -> str:
    """See `Ledger.accept_shot`."""
    shot = find_shot(write.connection, shot_id, owner)
    if shot.state != ShotState.FAILED:
        raise Conflict(f"shot {shot.id[:12]} is {shot.state}: only a failed shot can be accepted")
    mine = wants.c.shot_id == shot.id, wants.c.again.is_(False), wants.c.accepted.is_(False)
    query = select(jobs.c.id, jobs.c.owner).select_from(wants.join(jobs)).where(*mine)
    if job_id is not None:
        query = query.where(jobs.c.id == detailed_job(write.connection, job_id).id)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    wanting = write.connection.execute(query.where(jobs.c.intent != "cancelled")).all()
    if not wanting:
        whose = f"job {job_id} does not wait" if job_id else "no job waits"
        raise Conflict(f"shot {shot.id[:12]}: {whose} for it; it may have been accepted already")
    if len({row.owner for row in wanting}) > 1:
        named = ", ".join(f"{row.id} of {row.owner}" for row in wanting)
        raise Conflict(f"shot {shot.id[:12]} is wanted by {named}: select one with `--job`")
    _accept(write, [row.id for row in wanting], wants.c.shot_id == shot.id)
    return str(shot.id)


def _accept(
    write: Write, job_ids: Sequence[str], shot: ColumnElement[bool], *, accepted: bool = True
) -> None:
    """Accept failed shots as permanently missing for these jobs; other jobs that want them still wait."""
    mine = wants.c.job_id.in_(job_ids), wants.c.again.is_(False), shot, wants.c.accepted.is_not(accepted)
    failed = select(wants.c.job_id, func.count()).select_from(wants.join(shots)).where(*mine)
    failed = failed.where(shots.c.state == plain(ShotState.FAILED)).group_by(wants.c.job_id)
    for job_id, number in write.connection.execute(failed):
        write.sums.count(job_id, counted_as(ShotState.FAILED, not accepted), -number)
        write.sums.count(job_id, counted_as(ShotState.FAILED, accepted), number)
        note_job(write, job_id, ACCEPTED)
    write.connection.execute(update(wants).where(*mine).values(accepted=accepted))


def _set(write: Write, job_id: str, **values: Any) -> None:
    write.connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def _shots_in(connection: Connection, job_id: str, state: ShotState) -> list[str]:
    query = (
        select(shots.c.id)
        .select_from(wants.join(shots))
        .where(wants.c.job_id == job_id, wants.c.again.is_(False), shots.c.state == state)
    )
    if state is ShotState.FAILED:
        query = query.where(wants.c.accepted.is_(False))
    if state is ShotState.UNSCHEDULABLE:
        # A shot that no card can render according to the fit cannot be reset.
        query = query.where(shots.c.min_class > 0)
    return list(connection.scalars(query))


def _must_live(job: Row[Any]) -> None:
    if job.intent == "cancelled":
        raise Conflict(f"job {job.id} is cancelled; `farm requeue {job.id}` continues it")
