"""Views of jobs and images; read-only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select, String, and_, bindparam, exists, func, or_, select

from common.errors import NotFound
from common.exports import ANY_EXPORT, Export, exports_at
from common.shot import AXIS_TEXT
from common.states import AttemptState, BatchState, ShotState
from common.views import (
    BudgetView,
    EstimateView,
    ExportView,
    FailureView,
    ImageView,
    JobProgress,
    JobSummary,
    JobView,
)
from coordinator.explain.wording import a_few
from coordinator.ledger.database import columns_of
from coordinator.ledger.job_rows import JOB, detailed_job, job_exports, job_row
from coordinator.ledger.records import ShotFilter, StoredImage
from coordinator.ledger.schema import attempts, batches, images, job_counts, jobs, plain, shots, wants
from coordinator.ledger.specs import shot_of
from coordinator.ledger.tallies import OPEN
from coordinator.ledger.transitions import ACCEPTED, DELETED, REJECTED, chunks

#: Period in seconds over which images per minute are counted.
_WINDOW_S = 120.0
#: Shots, and jobs, that a page with a filter looks at: its cost does not grow with what does not match.
_LOOKED_AT = 5000
_JOBS_LOOKED_AT = 1000
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
    """
    if intent == "cancelled":
        return "cancelled"
    if OPEN.isdisjoint(counts):
        if ShotState.UNSCHEDULABLE in counts:
            return "unschedulable"
        good = counts.keys() <= {ShotState.DONE, ACCEPTED, REJECTED, DELETED}
        return "done" if good else "failed"
    if intent == "paused":
        return "paused"
    return "waiting" if _IN_HAND.isdisjoint(counts) else "running"


def status_of(row: Row[Any], counts: Mapping[str, int]) -> str:
    """The status of a job by its row; `waiting` until all its shots are submitted."""
    return status(row.intent, counts) if row.complete or row.intent == "cancelled" else "waiting"


def job_summaries(connection: Connection, currency: str, owner: str | None) -> list[JobSummary]:
    """See `Jobs.summaries`."""
    counts: dict[str, dict[str, int]] = {}
    counted = select(job_counts.c.job_id, job_counts.c.state, job_counts.c.shots)
    counted = counted.where(job_counts.c.shots > 0)
    listed = select(*JOB).order_by(jobs.c.submitted_at.desc())
    if owner is not None:
        counted = counted.join(jobs, jobs.c.id == job_counts.c.job_id).where(jobs.c.owner == owner)
        listed = listed.where(jobs.c.owner == owner)
    for job_id, state, number in connection.execute(counted):
        counts.setdefault(job_id, {})[state] = number
    rows = connection.execute(listed)
    return [
        JobSummary(**_summary(row, counts.get(row.id, {})), budget=_budget(connection, row, currency))
        for row in rows
    ]


def job_page(
    connection: Connection,
    currency: str,
    owner: str | None,
    after: tuple[float, str] | None,
    limit: int,
    statuses: Collection[str],
) -> tuple[list[JobSummary], tuple[float, str] | None]:
    """See `Jobs.page`."""
    looked_at = limit if not statuses else max(limit, _JOBS_LOOKED_AT)
    query = select(*JOB).order_by(jobs.c.submitted_at.desc(), jobs.c.id.desc()).limit(looked_at)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if after is not None:
        at, job_id = after
        earlier = and_(jobs.c.submitted_at == at, jobs.c.id < job_id)
        query = query.where(jobs.c.submitted_at <= at, or_(jobs.c.submitted_at < at, earlier))
    rows = connection.execute(query).all()
    counted = select(job_counts.c.job_id, job_counts.c.state, job_counts.c.shots)
    mine = job_counts.c.job_id.in_([row.id for row in rows]), job_counts.c.shots > 0
    counts: dict[str, dict[str, int]] = {}
    for job_id, state, number in connection.execute(counted.where(*mine)):
        counts.setdefault(job_id, {})[state] = number
    found: list[JobSummary] = []
    for row in rows:
        last = row.submitted_at, row.id
        budget = _budget(connection, row, currency)
        summary = JobSummary(**_summary(row, counts.get(row.id, {})), budget=budget)
        if not statuses or summary.status in statuses:
            found.append(summary)
        if len(found) == limit:
            return found, last
    return found, last if len(rows) == looked_at else None


def is_in_line(view: JobProgress) -> bool:
    """Whether some of its shots wait for their turn."""
    return view.status in ("waiting", "running") and ShotState.WAITING in view.counts


def job_view(connection: Connection, job_id: str, now: float, currency: str) -> JobView:
    """As `Jobs.view`, with `eta_s` at the job's own pace, as if no other went first."""
    row = job_row(connection, job_id)
    counts = _pairs(connection, _COUNTS, job_id)
    missing = counts.keys() & {ShotState.FAILED, ShotState.UNSCHEDULABLE}
    return JobView(
        **_progress(connection, row, counts, now, currency),
        running=_pairs(connection, _RUNNING, job_id),
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
    counts: dict[str, dict[str, int]] = {}
    counted = select(job_counts.c.job_id, job_counts.c.state, job_counts.c.shots)
    mine = job_counts.c.job_id.in_([row.id for row in rows]), job_counts.c.shots > 0
    for job_id, state, number in connection.execute(counted.where(*mine)):
        counts.setdefault(job_id, {})[state] = number
    return [JobProgress(**_progress(connection, row, counts.get(row.id, {}), now, currency)) for row in rows]


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


def shot_page(
    connection: Connection, job_id: str, wanted: ShotFilter, after: int, limit: int
) -> tuple[list[ImageView], int | None]:
    """See `Shots.page`."""
    exports = job_exports(detailed_job(connection, job_id))
    query = (
        select(wants.c.position, wants.c.name, wants.c.group_name, wants.c.axes, shots, images)
        .select_from(wants.join(shots).outerjoin(images, images.c.shot_id == shots.c.id))
        .where(wants.c.job_id == job_id, wants.c.position > after)
        .order_by(wants.c.position)
    )
    if not any(wanted):
        rows = connection.execute(query.limit(limit)).all()
        found, more = list(rows), len(rows) == limit
        end = found[-1].position if found else after
    else:
        end = after + _LOOKED_AT
        if wanted.states:
            query = query.where(shots.c.state.in_(wanted.states))
        if wanted.node:
            query = query.where(images.c.node_id == wanted.node)
        rows = connection.execute(query.where(wants.c.position <= end)).all()
        found = list(islice((row for row in rows if _is_wanted(row, wanted)), limit))
        if len(found) == limit:
            end = found[-1].position
        later = select(wants.c.position).where(wants.c.job_id == job_id, wants.c.position > end).limit(1)
        more = connection.execute(later).first() is not None
    return [image_view(row, exports_at(row.position, exports)) for row in found], end if more else None


def _is_wanted(row: Row[Any], wanted: ShotFilter) -> bool:
    axes = row.axes | {"group": row.group_name}
    if any(axes.get(axis) != value[:AXIS_TEXT] for axis, value in wanted.axes):
        return False
    return not wanted.text or wanted.text.casefold() in shot_of(row.spec).prompt.casefold()


def states(connection: Connection, shot_ids: Sequence[str]) -> list[ShotState]:
    """See `Shots.states`."""
    return [
        ShotState(state)
        for some in chunks(shot_ids)
        for state in connection.scalars(select(shots.c.state).where(shots.c.id.in_(some)))
    ]


def stored_image(connection: Connection, job_id: str, position: int, export: str) -> StoredImage:
    """See `Images.for_export`."""
    exports = exports_at(position, job_exports(detailed_job(connection, job_id)))
    wanted = next((each for each in exports if each.name == export), None)
    if wanted is None:
        known = ", ".join(each.name for each in exports) or "none"
        raise NotFound(f"image {position} of job {job_id} has no export {export}; it has: {known}")
    mine = wants.c.job_id == job_id, wants.c.position == position
    found = select(images, shots.c.spec).select_from(wants.join(shots).join(images)).where(*mine)
    row = connection.execute(found).one_or_none()
    if row is None:
        raise NotFound(f"image {position} of job {job_id} is not stored")
    return StoredImage(row.key, row.sha256, row.size, shot_of(row.spec), row.template, row.recipe, wanted)


def is_stored(connection: Connection, image: StoredImage) -> bool:
    """Whether the ledger still has this very image."""
    mine = images.c.shot_id == image.shot.id, images.c.key == image.key
    return connection.execute(select(images.c.key).where(*mine)).first() is not None


def stored(connection: Connection, ids: Sequence[str], lanes: Collection[str] | None) -> list[str]:
    """See `Images.stored`."""
    found: list[str] = []
    for some in chunks(ids):
        query = select(shots.c.id).where(shots.c.id.in_(some), shots.c.state == plain(ShotState.DONE))
        if lanes is not None:
            had = wants.c.shot_id == shots.c.id, wants.c.job_id == jobs.c.id, jobs.c.lane.in_(lanes)
            query = query.where(exists().where(*had))
        found += connection.scalars(query)
    return found


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


def _failures(connection: Connection, job_id: str) -> tuple[FailureView, ...]:
    """Failures by kind, each with its most frequent reasons; the others are summed up in one entry."""
    query = (
        select(shots.c.state, shots.c.failure, shots.c.reason, func.count())
        .select_from(wants.join(shots))
        .where(
            wants.c.job_id == job_id,
            wants.c.again.is_(False),
            or_(shots.c.state != plain(ShotState.FAILED), wants.c.accepted.is_(False)),
            shots.c.state.in_((ShotState.FAILED, ShotState.UNSCHEDULABLE)),
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


def image_view(row: Row[Any], exports: Sequence[Export]) -> ImageView:
    """A shot of a job, from the columns of its want, its shot and its image."""
    shot = shot_of(row.spec)
    final_width, final_height = shot.final_size
    sizes = [(each, each.size_of(final_width, final_height)) for each in exports]
    return ImageView(
        **columns_of(row, "position", "name", "state", "key", "sha256", "size", "cost"),
        shot_id=row.id,
        group=row.group_name,
        axes=row.axes,
        **{name: getattr(shot, name) for name in ("model", "prompt", "seed", "format")},
        width=final_width,
        height=final_height,
        seconds=sum(row.seconds.values()) if row.seconds else None,
        node=row.node_id,
        message=row.reason,
        exports=tuple(
            ExportView(
                export=each.name, name=row.name.replace(ANY_EXPORT, each.name), width=width, height=height
            )
            for each, (width, height) in sizes
        ),
    )
