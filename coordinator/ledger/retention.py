"""Retention: removes details of jobs that ended long ago, some hundred rows per transaction.

Jobs keep their row, counts and cost; images keep their sidecar; totals of attempts and batches are kept by
day. Details of a shot that another job wants are kept until the retention of that job expires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Exists,
    Row,
    Select,
    String,
    Table,
    and_,
    delete,
    exists,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from common.states import AttemptState, BatchState, ShotState
from coordinator.ledger.audit import forget, old_entries
from coordinator.ledger.database import add_to
from coordinator.ledger.idempotency import forget_old_requests, old_requests
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import (
    attempts,
    batches,
    daily_tallies,
    deleted_images,
    events,
    images,
    job_counts,
    jobs,
    plain,
    removals,
    shots,
    verifications,
    waiting,
    wants,
)
from coordinator.ledger.tallies import OPEN, Sums, tally_attempts, tally_batch, utc_day
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import ENDED, counted_as, drop_unwanted, note_job
from coordinator.scheduling.changes import JobClosed

#: Wants or removals of one transaction, and its attempts or events at the most.
WANTS, ROWS = 100, 1000
_IN_HAND = (ShotState.RUNNING, ShotState.DELIVERED)
_NEVER_DONE = (ShotState.FAILED, ShotState.CANCELLED)
_BY_DAY = ("day", "owner", "kind", "model", "lane", "vram_class", "label")


def due(connection: Connection, rules: Rules, now: float) -> bool:
    """Whether `thin` has anything to do."""
    if connection.execute(select(jobs.c.id).where(*_unnoticed()).limit(1)).first():
        return True
    if old_requests(connection, now):
        return True
    if rules.audit_s is not None and connection.execute(old_entries(now - rules.audit_s, 1)).first():
        return True
    if rules.keep_s is None:
        return False
    before = now - rules.keep_s
    old = _oldest(before), _node_events(before, 1), _verified(before, 1)
    return any(connection.execute(query).first() for query in old)


def thin(write: Write, rules: Rules) -> bool:
    """See `Ledger.thin`."""
    _note_ended(write)
    forget_old_requests(write)
    if rules.audit_s is not None and forget(write, write.now - rules.audit_s, ROWS):
        return True
    if rules.keep_s is None:
        return False
    before = write.now - rules.keep_s
    job = write.connection.execute(_oldest(before)).one_or_none()
    if job is None:
        old = write.connection.scalars(_node_events(before, ROWS)).all()
        write.connection.execute(delete(events).where(events.c.id.in_(old)))
        verified = write.connection.scalars(_verified(before, ROWS)).all()
        write.connection.execute(delete(verifications).where(verifications.c.attempt_id.in_(verified)))
        return ROWS in (len(old), len(verified))
    if job.thinning_at is None and not _begin(write, job.id):
        return True
    if not _thin_some(write, job.id) and _drop_events(write, [job.id]):
        _set(write, job.id, thinned_at=write.now)
    return True


def _note_ended(write: Write) -> None:
    """Record which jobs have no unfinished work any more."""
    ended = update(jobs).where(*_unnoticed()).values(ended_at=write.now)
    for job_id in write.connection.scalars(ended.returning(jobs.c.id)).all():
        note_job(write, job_id, ENDED)


def _over() -> ColumnElement[bool]:
    """Whether a job has no unfinished work."""
    # A node may repeat its reports until its batch is closed.
    held = exists().where(batches.c.job_id == jobs.c.id, batches.c.state == plain(BatchState.LEASED))
    cancelled = and_(jobs.c.intent == "cancelled", ~_counts(_IN_HAND))
    return and_(or_(and_(jobs.c.complete, ~_counts(OPEN)), cancelled), ~held)


def _counts(states: Collection[ShotState]) -> Exists:
    some = job_counts.c.job_id == jobs.c.id, job_counts.c.state.in_(states), job_counts.c.shots > 0
    return exists().where(*some)


def _unnoticed() -> tuple[ColumnElement[bool], ...]:
    return jobs.c.thinned_at.is_(None), jobs.c.ended_at.is_(None), _over()


def _oldest(before: float) -> Select[Any]:
    """The next job whose details are due for removal."""
    due = jobs.c.thinned_at.is_(None), jobs.c.ended_at < before
    return select(jobs.c.id, jobs.c.thinning_at).where(*due).order_by(jobs.c.ended_at).limit(1)


def _node_events(before: float, limit: int) -> Select[int]:
    of_nodes = events.c.noun == literal("node", String, literal_execute=True)
    return select(events.c.id).where(of_nodes, events.c.at < before).order_by(events.c.at).limit(limit)


def _verified(before: float, limit: int) -> Select[str]:
    """Images whose verification was settled before this time."""
    query = select(verifications.c.attempt_id).where(verifications.c.settled_at < before)
    return query.order_by(verifications.c.settled_at).limit(limit)


def _begin(write: Write, job_id: str) -> bool:
    """Close a job for claims; False if it has unfinished work after all."""
    over = write.connection.scalar(select(jobs.c.id).where(jobs.c.id == job_id, _over())) is not None
    if over:
        _set(write, job_id, thinning_at=write.now)
        write.changes.append(JobClosed(job_id))
    else:
        _set(write, job_id, ended_at=None)
    return over


def _set(write: Write, job_id: str, **values: float | None) -> None:
    write.connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def _thin_some(write: Write, job_id: str) -> bool:
    """Remove some wants of a job with their details; False if none are left."""
    table = wants
    places = _places(write, job_id, wants)
    if not places:
        table = removals
        places = _places(write, job_id, removals)
    if not places:
        return False
    ids = {row.shot_id for row in places}
    if _drop_attempts(write, _left_alone(write, job_id, ids)):
        _drop_places(write, job_id, table, places)
        write.connection.execute(
            delete(waiting).where(waiting.c.shot_id.in_(ids), waiting.c.job_id == job_id)
        )
        drop_unwanted(write, list(ids))
        _drop_shots(write, ids)
    return True


def _places(write: Write, job_id: str, table: Table) -> Sequence[Row[Any]]:
    """The first wants of a job, or its first removals."""
    query = select(table, shots.c.state).join_from(table, shots, shots.c.id == table.c.shot_id)
    order = table.c.position, table.c.shot_id
    return write.connection.execute(query.where(table.c.job_id == job_id).order_by(*order).limit(WANTS)).all()


def _left_alone(write: Write, job_id: str, ids: Collection[str]) -> list[str]:
    """The shots that no other job wants or has removed."""
    others = (
        exists().where(table.c.shot_id == shots.c.id, table.c.job_id != job_id) for table in (wants, removals)
    )
    query = select(shots.c.id).where(shots.c.id.in_(ids), ~or_(*others))
    return list(write.connection.scalars(query.where(shots.c.state.not_in(_IN_HAND))))


def _drop_attempts(write: Write, shot_ids: Sequence[str]) -> bool:
    """Remove attempts at these shots, their batches and their events; False if more remain."""
    theirs = attempts.c.shot_id.in_(shot_ids)
    query = select(attempts, jobs.c.owner).join_from(attempts, jobs, jobs.c.id == attempts.c.job_id)
    tried = write.connection.execute(query.where(theirs).order_by(attempts.c.shot_id).limit(ROWS)).all()
    if not _drop_events(write, [*shot_ids, *(row.id for row in tried)]):
        return False
    write.connection.execute(delete(attempts).where(attempts.c.id.in_([row.id for row in tried])))
    emptied = _drop_batches(write, {row.batch_id for row in tried})
    _keep_sums(write, tried, emptied)
    return len(tried) < ROWS


def _drop_events(write: Write, subjects: Collection[str]) -> bool:
    """Remove events of these subjects; False if more may remain."""
    theirs = select(events.c.id).where(events.c.subject.in_(subjects)).limit(ROWS)
    found = write.connection.scalars(theirs).all()
    write.connection.execute(delete(events).where(events.c.id.in_(found)))
    return len(found) < ROWS


def _drop_batches(write: Write, batch_ids: Collection[str]) -> Sequence[Row[Any]]:
    """Remove the batches without remaining attempts; returns them."""
    emptied = (
        batches.c.state == plain(BatchState.CLOSED),
        ~exists().where(attempts.c.batch_id == batches.c.id),
    )
    query = select(batches, jobs.c.owner).join_from(batches, jobs, jobs.c.id == batches.c.job_id)
    found = write.connection.execute(query.where(batches.c.id.in_(batch_ids), *emptied)).all()
    ids = [row.id for row in found]
    write.connection.execute(delete(events).where(events.c.subject.in_(ids)))
    write.connection.execute(delete(batches).where(batches.c.id.in_(ids)))
    return found


def _keep_sums(write: Write, tried: Iterable[Row[Any]], emptied: Iterable[Row[Any]]) -> None:
    """Add the totals of removed attempts and batches to the sums by day and owner."""
    sums: dict[tuple[date, str], Sums] = {}
    for row in tried:
        of_day = sums.setdefault((utc_day(row.settled_at), row.owner), Sums())
        tally_attempts(of_day, [row], AttemptState.DELIVERED, AttemptState(row.state), row._asdict())
    for row in emptied:
        tally_batch(sums.setdefault((utc_day(row.closed_at), row.owner), Sums()), row)
    rows = [
        {"day": day, "owner": owner, "value": value} | tally._asdict()
        for (day, owner), of_day in sums.items()
        for tally, value in of_day.tallies.items()
    ]
    add_to(write.connection, daily_tallies, _BY_DAY, ("value",), rows)


def _drop_places(write: Write, job_id: str, table: Table, places: Sequence[Row[Any]]) -> None:
    """Remove wants or removals of a job; its counts remain unchanged."""
    counted: Counter[str] = Counter()
    for row in places:
        if not row.again and (table is wants or row.redo_id is None):
            state = counted_as(row.state, row.accepted) if table is wants else row.kind
            if state in OPEN:
                # Another job is having it rendered; this job ended without it.
                write.sums.count(job_id, state, -1)
                state = ShotState.CANCELLED.value
                write.sums.count(job_id, state, 1)
            counted[state] += 1
    rows = [
        {"job_id": job_id, "state": state, "shots": 0, "thinned": number} for state, number in counted.items()
    ]
    add_to(write.connection, job_counts, ("job_id", "state"), ("thinned",), rows)
    last = tuple_(literal(places[-1].position), literal(places[-1].shot_id))
    mine = table.c.job_id == job_id, tuple_(table.c.position, table.c.shot_id) <= last
    write.connection.execute(delete(table).where(*mine))


def _drop_shots(write: Write, ids: Collection[str]) -> None:
    """Remove the shots that never had an image and that nothing refers to."""
    # Databases read some of these tables whole where they are asked for each shot.
    named = {
        shot_id
        for table in (wants, removals, images, deleted_images)
        for shot_id in write.connection.scalars(select(table.c.shot_id).where(table.c.shot_id.in_(ids)))
    }
    over = shots.c.id.in_(set(ids) - named), shots.c.state.in_(_NEVER_DONE)
    gone = set(write.connection.scalars(select(shots.c.id).where(*over)))
    write.connection.execute(delete(events).where(events.c.subject.in_(gone)))
    # Some were cancelled in this transaction, whose events are still to be written.
    write.events = [event for event in write.events if event["subject"] not in gone]
    write.connection.execute(delete(shots).where(shots.c.id.in_(gone)))
