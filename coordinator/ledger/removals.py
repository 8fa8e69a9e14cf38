"""Removals: a person removes stored images from jobs, optionally with new images in their place.

A removal belongs to the want, like acceptance: jobs of other owners that have the image keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from sqlalchemy import (
    Connection,
    Double,
    Row,
    Select,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    true,
    update,
)

from common.errors import Conflict
from common.shot import Shot
from common.states import ShotState
from common.views import RedoneShot, RejectedShot, Rejection
from coordinator.ledger.charges import Charge, Charged, utc_month
from coordinator.ledger.database import insert_new
from coordinator.ledger.job_rows import detailed_job
from coordinator.ledger.key_usage import take_images
from coordinator.ledger.schema import images, jobs, removals, shots, wants
from coordinator.ledger.shot_rows import find_shot, give_fresh_start
from coordinator.ledger.specs import shot_of, spec_of
from coordinator.ledger.tallies import Tally
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import REJECTED, counted_as, note_job, wanted
from coordinator.ledger.waiting import begin_waiting

#: Number of seeds checked per statement.
_SEEDS = 500
_LARGEST_SEED = 2**63 - 1


def reject_shot(
    write: Write,
    currency: str,
    shot_id: str,
    job_id: str | None,
    wish: Rejection,
    owner: str | None,
    key: str | None,
) -> RejectedShot:
    """See `Shots.reject`."""
    shot = find_shot(write.connection, shot_id, owner)
    having = owners_jobs(write.connection, wants, shot.id, job_id, owner)
    wasted = 0.0
    if having:
        must_be_stored(shot, owner)
        take_out(write, [shot.id], having, REJECTED, wish.by)
        wasted = _note_waste(write, shot.id)
    # An image that was rejected before can be redone as well.
    redoing = [] if wish.redo == "no" else owners_jobs(write.connection, removals, shot.id, job_id, owner)
    take_images(write, key, len(redoing))
    if not having and not redoing:
        raise Conflict(f"shot {shot.id[:12]}: {_nobody(job_id)}; it may have been rejected already")
    redone = tuple(_redo(write, shot, job_id, wish) for job_id in redoing)
    return RejectedShot(id=shot.id, jobs=tuple(having), wasted=wasted, currency=currency, redone=redone)


def _nobody(job_id: str | None) -> str:
    return f"job {job_id} does not have its image" if job_id else "no active job has its image"


def stored_states(owner: str | None) -> tuple[ShotState, ...]:
    """States of shots with an image that an owner sees; with those that operators alone see (None)."""
    return (ShotState.DONE,) if owner is not None else (ShotState.DONE, ShotState.WITHHELD)


def must_be_stored(shot: Row[str], owner: str | None) -> None:
    if shot.state not in stored_states(owner):
        what = (
            "the operator decides about its image"
            if shot.state == ShotState.WITHHELD
            else "it has no stored image"
        )
        raise Conflict(f"shot {shot.id[:12]} is {shot.state}: {what}")


def owners_jobs(
    connection: Connection, table: Table, shot_id: str, job_id: str | None, owner: str | None
) -> list[str]:
    """Live jobs in `table` with this shot: the given one, or all of the `owner`, or of its only owner.

    `table` is `wants`, or `removals` for rejected images without a redo. Raises Conflict if no owner is given
    and jobs of several have it.
    """
    query = select(jobs.c.id, jobs.c.owner).select_from(table.join(jobs, jobs.c.id == table.c.job_id))
    query = query.where(table.c.shot_id == shot_id, table.c.again.is_(False), jobs.c.intent != "cancelled")
    query = query.where(jobs.c.thinning_at.is_(None))
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if table is removals:
        query = query.where(removals.c.kind == REJECTED, removals.c.redo_id.is_(None))
    if job_id is not None:
        query = query.where(jobs.c.id == detailed_job(connection, job_id).id)
    found = connection.execute(query.order_by(jobs.c.submitted_at)).all()
    if len({row.owner for row in found}) > 1:
        named = ", ".join(f"{row.id} of {row.owner}" for row in found)
        raise Conflict(f"shot {shot_id[:12]} is wanted by {named}: select one with `--job`")
    return [row.id for row in found]


def take_out(
    write: Write, shot_ids: Sequence[str], job_ids: Sequence[str] | None, kind: str, by: str
) -> None:
    """Move wants of these jobs (None: all) for these shots to the removals, and update their counts."""
    theirs = true() if job_ids is None else wants.c.job_id.in_(job_ids)
    mine = and_(wants.c.shot_id.in_(shot_ids), theirs)
    by_state = wants.c.job_id, wants.c.accepted, shots.c.state
    counted = select(*by_state, func.count()).select_from(wants.join(shots)).where(mine)
    counted = counted.where(wants.c.again.is_(False)).group_by(*by_state)
    for job_id, accepted, state, number in write.connection.execute(counted):
        write.sums.count(job_id, counted_as(state, accepted), -number)
        write.sums.count(job_id, kind, number)
    theirs_by_shot = select(wants.c.job_id, wants.c.shot_id).where(mine, wants.c.again.is_(False))
    for job_id, shot_id in write.connection.execute(theirs_by_shot):
        note_job(write, job_id, kind, shot_id)
    record = [literal(kind, String), literal(by, String), literal(write.now, Double)]
    same = ("job_id", "position", "shot_id", "name", "template", "group_name", "axes", "again")
    moved = select(*(wants.c[name] for name in same), *record).where(mine)
    write.connection.execute(insert(removals).from_select([*same, "kind", "removed_by", "removed_at"], moved))
    write.connection.execute(delete(wants).where(mine))


def _note_waste(write: Write, shot_id: str) -> float:
    """Count an image as waste, once, if no live job has it; returns its cost, or 0 if one has it."""
    stored = images.join(shots, shots.c.id == images.c.shot_id)
    facts = (
        images.c[name] for name in ("model", "lane", "vram_class", "cost", "job_id", "node_id", "stored_at")
    )
    mine = images.c.shot_id == shot_id, images.c.rejected_at.is_(None), ~wanted()
    row = write.connection.execute(select(*facts).select_from(stored).where(*mine)).one_or_none()
    if row is None:
        return 0.0
    write.connection.execute(update(images).where(images.c.shot_id == shot_id).values(rejected_at=write.now))
    labels = row.model, row.lane, row.vram_class
    write.sums.add(Tally("rejected_images", *labels), 1)
    write.sums.add(Tally("rejected_cost", *labels), row.cost)
    charged = Charged(utc_month(row.stored_at), row.job_id, row.node_id, *labels, "image")
    write.sums.charges.add(charged, Charge(rejected=1))
    return float(row.cost)


def _redo(write: Write, shot: Row[str], job_id: str, wish: Rejection) -> RedoneShot:
    """Replace a rejected shot of a job by a new one."""
    new = _successor(write.connection, shot_of(shot.spec), job_id, same_seed=wish.redo == "same seed")
    state = _enter(write, shot, new, job_id)
    mine = removals.c.job_id == job_id, removals.c.shot_id == shot.id, removals.c.redo_id.is_(None)
    same = ("job_id", "position", "name", "template", "group_name", "axes", "again")
    is_stored = state in (ShotState.DONE, ShotState.WITHHELD)
    facts = {"shot_id": literal(new.id, String), "reused": literal(is_stored)}
    facts["accepted"] = literal(False)
    placed = select(*(removals.c[name] for name in same), *facts.values()).where(*mine)
    write.connection.execute(insert(wants).from_select([*same, *facts], placed))
    write.connection.execute(update(removals).where(*mine).values(redo_id=new.id))
    begin_waiting(write, wants.c.job_id == job_id, wants.c.shot_id == new.id)
    write.sums.count(job_id, REJECTED, -1)
    write.sums.count(job_id, state, 1)
    return RedoneShot(job=job_id, id=new.id, seed=new.seed)


def _enter(write: Write, old: Row[str], new: Shot, job_id: str) -> ShotState:
    """Add a shot with the same work key as `old`, or reset it if it exists but was given up."""
    state = ShotState.WAITING if old.min_class else ShotState.UNSCHEDULABLE
    row = {"id": new.id, "state": state.value, "spec": spec_of(new)}
    same = {name: getattr(old, name) for name in ("work_key", "min_class", "texts")}
    insert_new(write.connection, shots, [row | same])
    now = select(shots.c.state).where(shots.c.id == new.id)
    state = ShotState(write.connection.execute(now).scalar_one())
    if state in (ShotState.FAILED, ShotState.CANCELLED):
        give_fresh_start(write, [new.id], state, job_id)
        state = ShotState(write.connection.execute(now).scalar_one())
    return state


def _successor(connection: Connection, shot: Shot, job_id: str, *, same_seed: bool) -> Shot:
    """The next generation or seed of the shot that the job neither wants nor has rejected."""
    for first in count(1, _SEEDS):
        steps = range(first, first + _SEEDS)
        if same_seed:
            tried = [shot._replace(generation=shot.generation + step) for step in steps]
        else:
            seeds = ((shot.seed + step) % (_LARGEST_SEED + 1) for step in steps)
            tried = [shot._replace(seed=seed) for seed in seeds]
        ids = [one.id for one in tried]
        known = (_of_job(table, job_id, ids) for table in (wants, removals))
        taken = {shot_id for query in known for shot_id in connection.scalars(query)}
        for one, shot_id in zip(tried, ids, strict=True):
            if shot_id not in taken:
                return one
    raise AssertionError("a job does not want every seed there is")


def _of_job(table: Table, job_id: str, ids: Sequence[str]) -> Select[str]:
    return select(table.c.shot_id).where(table.c.job_id == job_id, table.c.shot_id.in_(ids))
