"""The event log, one row per transition in the order of commits: what watchers are told of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from common.events import JobUpdate, ShotUpdate
from common.states import ShotEvent, ShotState
from coordinator.ledger.database import columns_of
from coordinator.ledger.job_rows import job_row
from coordinator.ledger.job_views import status_of
from coordinator.ledger.schema import events, job_counts, jobs, wants
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.transitions import DELETED, ENDED, REJECTED, chunks

#: Rows of one page, and rows after which a watcher rather reads again what it shows.
PAGE, MOST_BEHIND = 2000, 100_000
#: Transitions of shots that watchers are told of one by one; of others they see the counts.
_TOLD = (
    *(ShotEvent.STORED, ShotEvent.WITHHELD, ShotEvent.APPROVED),
    *(ShotEvent.EXHAUSTED, ShotEvent.OUTGROWN, ShotEvent.FITS, ShotEvent.REQUEUED),
)


class Topic(NamedTuple):
    """Which events are wanted: of one job, of the jobs of an owner, or of all."""

    job: str | None = None
    owner: str | None = None


EVERYTHING = Topic()


class EventPage(NamedTuple):
    """The events of some rows of the log."""

    #: The last row, and whether there are more.
    last: int
    more: bool
    shots: Sequence[ShotUpdate]
    #: The present states of all jobs that these rows are about.
    jobs: Sequence[JobUpdate]
    #: By job, the row by which one of these ended.
    ended: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EventLog:
    transactions: Transactions
    #: Seconds for which events are kept; None: forever.
    keep_s: float | None

    def last(self) -> int:
        """ID of the newest event in the log; 0 if there is none."""
        with self.transactions.read() as connection:
            return last_id(connection)

    def keeps(self, after: int) -> bool:
        """Whether all events behind `after` are in the log, and few enough to be repeated."""
        with self.transactions.read() as connection:
            last = last_id(connection)
            return _is_kept(connection, after, last, self.keep_s and self.transactions.clock() - self.keep_s)

    def page(self, after: int, topic: Topic = EVERYTHING) -> EventPage:
        """The events of the next rows behind `after`, oldest first; those of jobs come last."""
        with self.transactions.read() as connection:
            return _page(connection, after, topic)

    def job(self, job_id: str) -> JobUpdate:
        """The present state of a job, as of the newest event. Raises NotFound."""
        with self.transactions.read() as connection:
            row = job_row(connection, job_id)
            counts = _counts(connection, [job_id]).get(job_id, {})
            at = self.transactions.clock()
            return _job_event(row, counts, last_id(connection), at, ended=row.ended_at is not None)


def last_id(connection: Connection) -> int:
    """ID of the newest event; 0 if there is none."""
    return connection.scalar(select(func.max(events.c.id))) or 0


def _is_kept(connection: Connection, after: int, last: int, oldest_at: float | None) -> bool:
    """Whether all events behind `after` are in the log; those before `oldest_at` may have been removed."""
    if after > last or last - after > MOST_BEHIND:
        return False
    if oldest_at is None or after == last:
        return True
    # Events are as old as their IDs say: if this one is young, all behind it are.
    newest = select(events.c.at).where(events.c.id <= max(after, 1)).order_by(events.c.id.desc()).limit(1)
    at = connection.scalar(newest)
    return at is not None and at >= oldest_at


def _page(connection: Connection, after: int, topic: Topic) -> EventPage:
    columns = (events.c[name] for name in ("id", "at", "noun", "subject", "event", "target", "detail"))
    told = events.c.id > after, events.c.noun.in_(("shot", "job"))
    rows = connection.execute(select(*columns).where(*told).order_by(events.c.id).limit(PAGE)).all()
    wanted = _wanted(connection, {row.subject for row in rows if row.noun == "shot"}, topic)
    #: The newest row about each job.
    touched: dict[str, Row[Any]] = {}
    shots: list[ShotUpdate] = []
    for row in rows:
        if row.noun == "job":
            touched[row.subject] = row
            if row.event in (REJECTED, DELETED):
                shots.append(_removed(row))
        for want in wanted.get(row.subject, ()) if row.noun == "shot" else ():
            touched[want.job_id] = row
            if row.event in _TOLD:
                shots.append(_moved(row, want))
    ended = {row.subject: row.id for row in rows if row.noun == "job" and row.event == ENDED}
    found = _job_events(connection, touched, ended, topic)
    known = {event.job for event in found}
    more = len(rows) == PAGE
    # The log may have become shorter: IDs of removed events can be given again.
    last = rows[-1].id if more else last_id(connection)
    return EventPage(last, more, [event for event in shots if event.job in known], found, ended)


def _wanted(connection: Connection, shot_ids: Collection[str], topic: Topic) -> dict[str, list[Row[Any]]]:
    """By shot, where the jobs of the topic want it."""
    columns = (wants.c[name] for name in ("shot_id", "job_id", "position", "name"))
    query = select(*columns).where(wants.c.again.is_(False))
    if topic.job is not None:
        query = query.where(wants.c.job_id == topic.job)
    found: dict[str, list[Row[Any]]] = {}
    for some in chunks(sorted(shot_ids)):
        for want in connection.execute(query.where(wants.c.shot_id.in_(some))):
            found.setdefault(want.shot_id, []).append(want)
    return found


def _moved(row: Row[Any], want: Row[Any]) -> ShotUpdate:
    failed = row.target in (ShotState.FAILED, ShotState.UNSCHEDULABLE)
    return ShotUpdate(
        **columns_of(row, "id", "at"),
        **columns_of(want, "position", "name"),
        job=want.job_id,
        shot=row.subject,
        state=row.target,
        failure=row.detail if failed else "",
    )


def _removed(row: Row[Any]) -> ShotUpdate:
    return ShotUpdate(id=row.id, at=row.at, job=row.subject, shot=row.detail, position=None, state=row.event)


def _job_events(
    connection: Connection, touched: Mapping[str, Row[Any]], ended: Collection[str], topic: Topic
) -> list[JobUpdate]:
    """The present state of each of these jobs of the topic, in the order of the newest rows about them."""
    ids = [id_ for id_ in touched if topic.job in (None, id_)]
    query = select(*(jobs.c[name] for name in _JOB)).where(jobs.c.id.in_(ids))
    if topic.owner is not None:
        query = query.where(jobs.c.owner == topic.owner)
    counts = _counts(connection, ids)
    found = [
        _job_event(row, counts.get(row.id, {}), touched[row.id].id, touched[row.id].at, ended=row.id in ended)
        for row in connection.execute(query)
    ]
    return sorted(found, key=lambda event: event.id)


#: What of a job is told; not its manifest, which is large.
_JOB = ("id", "name", "owner", "intent", "complete", "reason")


def _job_event(
    row: Row[Any], counts: Mapping[str, int], event_id: int, at: float, *, ended: bool
) -> JobUpdate:
    return JobUpdate(
        id=event_id,
        at=at,
        **columns_of(row, "name", "owner", "reason"),
        job=row.id,
        status=status_of(row, counts),
        images=sum(counts.values()),
        counts=dict(counts),
        ended=ended,
    )


def _counts(connection: Connection, job_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Shots by state of each job."""
    columns = job_counts.c.job_id, job_counts.c.state, job_counts.c.shots
    query = select(*columns).where(job_counts.c.job_id.in_(job_ids), job_counts.c.shots > 0)
    found: dict[str, dict[str, int]] = {}
    for job_id, state, number in connection.execute(query):
        found.setdefault(job_id, {})[state] = number
    return found
