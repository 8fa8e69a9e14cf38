"""Rows of shots: lookup by ID prefix, reset, and acceptance of failed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, or_, select, update

from common.errors import Conflict, NotFound
from common.states import ShotEvent, ShotState
from coordinator.ledger.schema import SHOWN, images, jobs, plain, removals, shots, wants
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import ACCEPTED, chunks, counted_as, move_shots, note_job

#: Minimum length of an ID prefix.
_LEAST_DIGITS = 6
#: Jobs among whose images a name is looked for.
_JOBS = 1000


def find_shot(connection: Connection, shot_id: str, owner: str | None = None) -> Row[Any]:
    """The row of the shot with this ID prefix, of those that jobs of an owner want or had (None: of all).

    Raises NotFound, or Conflict if it is ambiguous.
    """
    is_id = len(shot_id) >= _LEAST_DIGITS and set(shot_id) <= set("0123456789abcdef")
    # "g" follows the last hex digit; a range uses the index of the key on every database.
    begins_so = shots.c.id >= shot_id, shots.c.id < shot_id + "g"
    theirs = () if owner is None else (of_owner(owner),)
    found = connection.execute(select(shots).where(*begins_so, *theirs).limit(2)).all() if is_id else []
    if not found:
        raise NotFound(f"no shot {shot_id}; give at least the first {_LEAST_DIGITS} digits of its ID")
    if len(found) > 1:
        raise Conflict(f"several shot IDs begin with {shot_id}; give more digits")
    return found[0]


def of_owner(owner: str) -> ColumnElement[bool]:
    """Condition that a job of an owner wants the shot of the enclosing query, or had its image."""
    return or_(
        *(
            exists().where(table.c.shot_id == shots.c.id, table.c.job_id == jobs.c.id, jobs.c.owner == owner)
            for table in (wants, removals)
        )
    )


def shot_with_image(connection: Connection, sha256: str, owner: str | None = None) -> str | None:
    """ID of a shot, as in `find_shot`, whose stored image has this SHA-256; of equal images, the first."""
    mine = images.c.sha256 == sha256, SHOWN
    query = select(func.min(shots.c.id)).select_from(shots.join(images)).where(*mine)
    shot_id: str | None = connection.scalar(query if owner is None else query.where(of_owner(owner)))
    return shot_id


def shot_named(connection: Connection, name: str, owner: str | None = None) -> str | None:
    """ID of the shot that gives an image this name, with or without the ending of its file.

    Of several jobs with such an image the newest counts, among the last `_JOBS` of an owner (None: of all).
    """
    newest = select(jobs.c.id).order_by(jobs.c.submitted_at.desc()).limit(_JOBS)
    late = connection.scalars(newest if owner is None else newest.where(jobs.c.owner == owner)).all()
    named = wants.c.job_id.in_(late), wants.c.name.in_({name, name.rpartition(".")[0]})
    query = select(wants.c.job_id, wants.c.shot_id).where(*named).order_by(wants.c.position)
    shot_ids: dict[str, str] = {}
    for job_id, shot_id in connection.execute(query):
        shot_ids.setdefault(job_id, shot_id)
    return next((shot_ids[job_id] for job_id in late if job_id in shot_ids), None)


def give_fresh_start(write: Write, ids: Sequence[str], source: ShotState, detail: str) -> None:
    """Make failed or cancelled shots wait again; shots that fit no class become unschedulable again."""
    for some in chunks(ids):
        misfits = select(shots.c.id).where(shots.c.id.in_(some), shots.c.min_class == 0)
        unfit = write.connection.scalars(misfits).all()
        move_shots(write, some, source, ShotEvent.REQUEUED, detail=detail, attempts=0, crashes=0)
        move_shots(write, unfit, ShotState.WAITING, ShotEvent.OUTGROWN, detail=detail)
        cleared = shots.c.id.in_(some), shots.c.state == ShotState.WAITING
        write.connection.execute(update(shots).where(*cleared).values(failure="", reason=""))


def accept_failed(
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
