"""Views of jobs; read-only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, String, and_, bindparam, case, func, or_, select

from common.errors import Conflict
from common.states import AttemptState, BatchState, ShotState
from common.views import (
    BudgetView,
    EstimateView,
    FailureView,
    JobProgress,
    JobSummary,
    JobView,
)
from coordinator.explain.wording import a_few, listed
from coordinator.ledger.database import columns_of
from coordinator.ledger.job_rows import JOB, job_row
from coordinator.ledger.records import JobFilter
from coordinator.ledger.schema import attempts, batches, job_counts, jobs, plain, shots, wants
from coordinator.ledger.tallies import OPEN
from coordinator.ledger.transitions import ACCEPTED, DELETED, REJECTED

#: Period in seconds over which images per minute are counted.
_WINDOW_S = 120.0
#: Jobs that a page with a filter looks at: its cost does not grow with what does not match.
_LOOKED_AT = 1000
#: Statuses of jobs that go on by nothing that is to come, and of those that go on or wait for somebody.
_ENDED = ("done", "withheld", "failed", "cancelled")
_UNFINISHED = ("waiting", "running", "paused", "withheld", "failed", "unschedulable")
#: States of shots of which a job says why it has no image.
_MISSING = (ShotState.FAILED, ShotState.UNSCHEDULABLE, ShotState.WITHHELD)
#: States of active shots.
_IN_HAND = frozenset({ShotState.RUNNING, ShotState.DELIVERED})

# Many programs poll jobs, and to build a query takes longer than to answer it: these are built once.
_JOB_ID = bindparam("job", type_=String)
#: Shots of a job by state.
_COUNTS = select(job_counts.c.state, job_counts.c.shots).where(
    job_counts.c.job_id == _JOB_ID, job_counts.c.shots > 0
)
#: Shots of a job that run, by node: from the few leased batches, not from all attempts.
_RUNNING = (
    select(attempts.c.node_id, func.count())
    .join(batches, attempts.c.batch_id == batches.c.id)
    .where(batches.c.job_id == _JOB_ID, batches.c.state == plain(BatchState.LEASED))
    .where(attempts.c.state == AttemptState.RUNNING)
    .group_by(attempts.c.node_id)
)
_STORED = attempts.c.job_id == _JOB_ID, attempts.c.state == AttemptState.STORED
_NEWEST = select(func.max(attempts.c.settled_at)).where(*_STORED).correlate(None).scalar_subquery()
#: The end of a job's newest attempt whose image was stored, and of those in the period before it the earliest
#: begin and the number.
_LATE = select(func.max(attempts.c.settled_at), func.min(attempts.c.started_at), func.count()).where(
    *_STORED, attempts.c.settled_at > _NEWEST - _WINDOW_S
)


def status(intent: str, counts: Mapping[str, int]) -> str:
    """The status of a job, from its intent and the states of its shots.

    >>> status("active", {"done": 3, "waiting": 1}), status("active", {"done": 3, "failed": 1})
    ('waiting', 'failed')
    >>> status("active", {"done": 3, "withheld": 1})
    'withheld'
    """
    if intent == "cancelled":
        return "cancelled"
    if OPEN.isdisjoint(counts):
        if ShotState.UNSCHEDULABLE in counts:
            return "unschedulable"
        missing = counts.keys() - {ShotState.DONE, ACCEPTED, REJECTED, DELETED}
        if missing <= {ShotState.WITHHELD}:
            return "withheld" if missing else "done"
        return "failed"
    if intent == "paused":
        return "paused"
    return "waiting" if _IN_HAND.isdisjoint(counts) else "running"


def status_of(row: Row[Any], counts: Mapping[str, int]) -> str:
    """The status of a job by its row; `waiting` until all its shots are submitted."""
    return status(row.intent, counts) if row.complete or row.intent == "cancelled" else "waiting"


def job_page(
    connection: Connection,
    currency: str,
    owner: str | None,
    wanted: JobFilter,
    *,
    after: tuple[float, str] | None = None,
    limit: int,
) -> tuple[list[JobSummary], tuple[float, str] | None]:
    """See `Jobs.page`."""
    looked_at = limit if not wanted.statuses else max(limit, _LOOKED_AT)
    query = select(*JOB).order_by(jobs.c.submitted_at.desc(), jobs.c.id.desc()).limit(looked_at)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if wanted.name is not None:
        query = query.where(jobs.c.name == wanted.name)
    if after is not None:
        at, job_id = after
        earlier = and_(jobs.c.submitted_at == at, jobs.c.id < job_id)
        query = query.where(jobs.c.submitted_at <= at, or_(jobs.c.submitted_at < at, earlier))
    rows = connection.execute(query).all()
    found: list[JobSummary] = []
    for row, summary in zip(rows, _summaries(connection, rows, currency), strict=True):
        last = row.submitted_at, row.id
        if not wanted.statuses or summary.status in wanted.statuses:
            found.append(summary)
        if len(found) == limit:
            return found, last
    return found, last if len(rows) == looked_at else None


def _summaries(connection: Connection, rows: Sequence[Row[Any]], currency: str) -> list[JobSummary]:
    counts = _counts(connection, rows)
    return [
        JobSummary(**_summary(row, counts.get(row.id, {})), budget=_budget(connection, row, currency))
        for row in rows
    ]


def job_named(connection: Connection, name: str, owner: str | None = None) -> str | None:
    """ID of the job that a name means, of those of an owner (None: of all): the one that has not ended, else
    the newest. None if there is no such job; raises Conflict if several have not ended.
    """
    found, _ = job_page(connection, "", owner, JobFilter(name), limit=_LOOKED_AT)
    going = [job.id for job in found if job.status not in _ENDED]
    if len(going) > 1:
        raise Conflict(f"{len(going)} jobs are called {name} ({listed(going)}): give the ID of one")
    return next(iter(going or [job.id for job in found]), None)


def unfinished_jobs(
    connection: Connection, currency: str, owner: str | None, busy: Collection[str], limit: int
) -> list[JobSummary]:
    """See `Jobs.unfinished`; `busy` are the jobs with work."""
    found, _ = job_page(connection, currency, owner, JobFilter(statuses=_UNFINISHED), limit=limit)
    others = select(*JOB).where(jobs.c.id.in_(set(busy) - {job.id for job in found}))
    if owner is not None:
        others = others.where(jobs.c.owner == owner)
    rows = connection.execute(others.order_by(jobs.c.submitted_at.desc()).limit(limit)).all()
    return [*found, *_summaries(connection, rows, currency)][:limit]


def is_in_line(view: JobProgress) -> bool:
    """Whether some of its shots wait for their turn."""
    return view.status in ("waiting", "running") and ShotState.WAITING in view.counts


def job_view(connection: Connection, job_id: str, now: float, currency: str) -> JobView:
    """As `Jobs.view`, with `eta_s` at the job's own pace, as if no other went first."""
    row = job_row(connection, job_id)
    counts = _pairs(connection, _COUNTS, job_id)
    missing = counts.keys() & set(_MISSING)
    return JobView(
        **_progress(connection, row, counts, now, currency),
        running=_pairs(connection, _RUNNING, job_id),
        shared=_shared(connection, row) if row.intent == "cancelled" and not OPEN.isdisjoint(counts) else {},
        estimate=_estimate(row),
        took_s=_took_s(row) if row.complete and OPEN.isdisjoint(counts) else None,
        paused_s=row.paused_s,
        rendered=row.rendered,
        # Found among all its shots.
        failures=_failures(connection, job_id) if missing else (),
        axes=row.axes,
    )


def job_progress(
    connection: Connection, rows: Sequence[Row[Any]], now: float, currency: str
) -> list[JobProgress]:
    """Views of some jobs, with `eta_s` as `job_view` has it."""
    counts = _counts(connection, rows)
    return [JobProgress(**_progress(connection, row, counts.get(row.id, {}), now, currency)) for row in rows]


def _counts(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, dict[str, int]]:
    """Shots of some jobs by state, by ID of the job."""
    counted = select(job_counts.c.job_id, job_counts.c.state, job_counts.c.shots)
    mine = job_counts.c.job_id.in_([row.id for row in rows]), job_counts.c.shots > 0
    counts: dict[str, dict[str, int]] = {}
    for job_id, state, number in connection.execute(counted.where(*mine)):
        counts.setdefault(job_id, {})[state] = number
    return counts


def _progress(
    connection: Connection, row: Row[Any], counts: Mapping[str, int], now: float, currency: str
) -> dict[str, Any]:
    left = sum(number for state, number in counts.items() if state in OPEN)
    rate = _images_per_minute(connection, row.id, now)
    return {
        **_summary(row, counts),
        "budget": _budget(connection, row, currency),
        "images_per_minute": rate,
        "eta_s": left / rate * 60 if rate and row.intent == "active" else None,
        "cost": row.cost,
        "currency": currency,
    }


def _estimate(row: Row[Any]) -> EstimateView | None:
    if row.estimated_s is None:
        return None
    return EstimateView(seconds=row.estimated_s, images=row.estimated_images, cost=row.estimated_cost)


def _took_s(row: Row[Any]) -> float | None:
    """Seconds from the submission to the last image, without those in which the job rested."""
    if row.last_image_at is None:
        return None
    took_s: float = row.last_image_at - row.submitted_at - row.paused_s
    return max(0.0, took_s)


def _pairs(connection: Connection, query: Select[str, int], job_id: str) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(query, {"job": job_id})}


def _summary(row: Row[Any], counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        **columns_of(row, "id", "name", "owner", "lane", "priority", "intent", "reason", "submitted_at"),
        "status": status_of(row, counts),
        "images": sum(counts.values()),
        "counts": counts,
        "details_removed_at": row.thinning_at,
    }


def _budget(connection: Connection, row: Row[Any], currency: str) -> BudgetView | None:
    if row.max_cost is None:
        return None
    return BudgetView(limit=row.max_cost, cost=row.cost, currency=currency)


def _images_per_minute(connection: Connection, job_id: str, now: float) -> float:
    """Images per minute of a job, before its newest image or, while it runs, before now."""
    newest, first, number = connection.execute(_LATE, {"job": job_id}).one()
    if newest is None:
        return 0.0
    begin: float = max(first or 0.0, newest - _WINDOW_S)
    end: float = newest if now - newest > _WINDOW_S else now
    return float(number) / max(end - begin, 1.0) * 60


def _shared(connection: Connection, job: Row[Any]) -> dict[str, int]:
    """Unfinished shots of a cancelled job by the job that wants them, as `JobView.shared` has it."""
    other, wanting = wants.alias(), jobs.alias()
    first = func.min(case((wanting.c.owner == job.owner, wanting.c.id)))
    named = (
        select(func.coalesce(first, "").label("job"))
        .select_from(wants.join(shots))
        .join(other, and_(other.c.shot_id == shots.c.id, other.c.job_id != job.id))
        .join(wanting, wanting.c.id == other.c.job_id)
        .where(wants.c.job_id == job.id, wants.c.again.is_(False), other.c.again.is_(False))
        .where(shots.c.state.in_([plain(state) for state in OPEN]), wanting.c.intent != "cancelled")
        .group_by(shots.c.id)
        .subquery()
    )
    query = select(named.c.job, func.count()).group_by(named.c.job).order_by(func.count().desc())
    return {row[0]: row[1] for row in connection.execute(query)}


def _failures(connection: Connection, job_id: str) -> tuple[FailureView, ...]:
    """Failures and withheld images by kind, each with its most frequent reasons, the others in one entry."""
    query = (
        select(shots.c.state, shots.c.failure, shots.c.reason, func.count())
        .select_from(wants.join(shots))
        .where(
            wants.c.job_id == job_id,
            wants.c.again.is_(False),
            or_(shots.c.state != plain(ShotState.FAILED), wants.c.accepted.is_(False)),
            shots.c.state.in_(_MISSING),
        )
        .group_by(shots.c.state, shots.c.failure, shots.c.reason)
        .order_by(func.count().desc(), shots.c.reason)
    )
    kinds: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for state, kind, reason, number in connection.execute(query):
        kinds.setdefault((state, kind or "fits_nothing"), []).append((reason, number))
    return tuple(
        FailureView(state=state, kind=kind, message=message, shots=number)
        for (state, kind), reasons in kinds.items()
        for message, number in a_few(reasons, str)
    )
