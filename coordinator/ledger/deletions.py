"""Deletions: images are removed from the store permanently; their sidecar and who deleted them remain.

The ledger is written first. The store follows immediately, or when a later round finds remaining bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Exists,
    String,
    delete,
    exists,
    insert,
    literal,
    select,
    update,
)

from common.errors import Conflict, NotFound
from common.states import SHOT, ShotEvent
from common.views import Deleted
from coordinator.ledger.job_rows import detailed_job
from coordinator.ledger.removals import must_be_stored, owners_jobs, stored_states, take_out
from coordinator.ledger.schema import (
    deleted_images,
    images,
    job_counts,
    jobs,
    plain,
    removals,
    shots,
    wants,
)
from coordinator.ledger.shot_rows import find_shot
from coordinator.ledger.tallies import OPEN
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import DELETED, move_shots, wanted


def delete_shot(write: Write, shot_id: str, job_id: str | None, by: str, owner: str | None) -> Deleted:
    """See `Images.delete`."""
    shot = find_shot(write.connection, shot_id, owner)
    having = owners_jobs(write.connection, wants, shot.id, job_id, owner)
    must_be_stored(shot, owner)
    return delete_pictures(write, [shot.id], having, by, owner)


def pictures_of(connection: Connection, job_id: str, owner: str | None) -> list[str]:
    """Shots with a stored image that a job has or has rejected; for an `owner`, without withheld ones.

    Raises Conflict if the job is unfinished.
    """
    job = detailed_job(connection, job_id)
    at_work = job_counts.c.job_id == job_id, job_counts.c.state.in_(OPEN), job_counts.c.shots > 0
    if job.intent != "cancelled" and connection.execute(select(job_counts).where(*at_work)).first():
        raise Conflict(
            f"job {job_id} is not finished: run `farm cancel {job_id}` first, or delete single shots"
        )
    stored = shots.c.state.in_([plain(state) for state in stored_states(owner)])
    had = select(removals.c.shot_id).where(removals.c.job_id == job_id)
    has = select(wants.c.shot_id).where(wants.c.job_id == job_id)
    return list(connection.scalars(select(shots.c.id).where(stored, shots.c.id.in_(has.union(had)))))


def pictures_with(connection: Connection, sha256: str) -> list[str]:
    """Shots whose stored image has this SHA-256. Raises NotFound if there is none."""
    found = connection.scalars(select(images.c.shot_id).where(images.c.sha256 == sha256)).all()
    if not found:
        gone = select(deleted_images.c.deleted_by).where(deleted_images.c.sha256 == sha256)
        by = connection.scalar(gone)
        already = f": {by} deleted it" if by is not None else ""
        raise NotFound(f"no stored image has the SHA-256 {sha256[:12]}…{already}")
    return list(found)


def delete_pictures(
    write: Write,
    shot_ids: Sequence[str],
    job_ids: Sequence[str] | None,
    by: str,
    owner: str | None = None,
) -> Deleted:
    """Remove images from these jobs (None: all), and delete those that no live job has afterwards.

    For an `owner`, what any job of another owner has is kept.
    """
    take_out(write, shot_ids, job_ids, DELETED, by)
    stored: tuple[ColumnElement[bool], ...] = (
        shots.c.id.in_(shot_ids),
        shots.c.state.in_([plain(state) for state in stored_states(owner)]),
    )
    if owner is not None:
        stored = *stored, ~_of_others(owner)
    found = write.connection.execute(select(shots.c.id, shots.c.state).where(*stored, ~wanted())).all()
    doomed = [row.id for row in found]
    mine = images.c.shot_id.in_(doomed)
    same = [column.name for column in images.c]
    record = [literal(by, String), literal(write.now, Double)]
    gone = select(*(images.c[name] for name in same), *record).where(mine)
    write.connection.execute(insert(deleted_images).from_select([*same, "deleted_by", "deleted_at"], gone))
    write.connection.execute(delete(images).where(mine))
    counted = {"deletions": shots.c.deletions + 1}
    for state in SHOT.sources(ShotEvent.ERASED):
        some = [row.id for row in found if row.state == state]
        move_shots(write, some, state, ShotEvent.ERASED, detail=by, **counted)
    return Deleted(images=len(doomed), kept=len(shot_ids) - len(doomed))


def _of_others(owner: str) -> Exists:
    """Condition that a job of another owner, cancelled or not, has the shot of the enclosing query."""
    return exists().where(wants.c.shot_id == shots.c.id, wants.c.job_id == jobs.c.id, jobs.c.owner != owner)


def deleted_by(connection: Connection, shot_id: str) -> str:
    """Who last deleted the image of the shot; empty if nobody did."""
    theirs = select(deleted_images.c.deleted_by).where(deleted_images.c.shot_id == shot_id)
    return connection.scalar(theirs.order_by(deleted_images.c.deleted_at.desc()).limit(1)) or ""


def erase_again(write: Write, shot_id: str) -> None:
    """Mark a deleted image to be erased again, because a late ingest may have stored it once more."""
    theirs = update(deleted_images).where(deleted_images.c.shot_id == shot_id)
    write.connection.execute(theirs.values(erased_at=None))
