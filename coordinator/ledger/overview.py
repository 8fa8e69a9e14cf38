"""What the overview and the list of jobs show; read-only, and bounded however long the history is."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from common.allowance import period_began
from common.views import JobProgress
from coordinator.ledger.job_rows import JOB
from coordinator.ledger.job_views import job_progress
from coordinator.ledger.schema import jobs, owner_days
from coordinator.ledger.tallies import utc_day

#: Jobs of an overview: those with work first.
_MOST = 12


class Spending(NamedTuple):
    """What the jobs of some owners cost, and the images that were rendered for them."""

    cost: float
    images: int


class Overview(NamedTuple):
    #: Those with waiting or running shots, by priority, then the newest.
    jobs: list[JobProgress]
    #: Jobs with work that are left out.
    more: int
    today: Spending
    month: Spending


def overview(
    connection: Connection, owner: str | None, busy: Set[str], now: float, currency: str
) -> Overview:
    """See `Jobs.overview`; `busy` are the jobs with work."""
    by_age = jobs.c.submitted_at.desc()
    mine = () if owner is None else (jobs.c.owner == owner,)
    working = select(*JOB).where(jobs.c.id.in_(busy), *mine).order_by(jobs.c.priority.desc(), by_age)
    first = connection.execute(working.limit(_MOST)).all()
    number = connection.scalar(select(func.count()).select_from(working.subquery())) or 0
    newest = connection.execute(select(*JOB).where(*mine).order_by(by_age).limit(_MOST)).all()
    others = [row for row in newest if row.id not in busy]
    return Overview(
        jobs=job_progress(connection, [*first, *others][:_MOST], now, currency),
        more=number - len(first),
        today=_spending(connection, owner, "day", now),
        month=_spending(connection, owner, "month", now),
    )


def job_rows(connection: Connection, job_ids: Sequence[str]) -> list[Row[Any]]:
    """The rows of jobs, in this order."""
    found = {row.id: row for row in connection.execute(select(*JOB).where(jobs.c.id.in_(job_ids)))}
    return [found[job_id] for job_id in job_ids if job_id in found]


def _spending(connection: Connection, owner: str | None, period: str, now: float) -> Spending:
    """Of the present UTC day or month."""
    sums = func.coalesce(func.sum(owner_days.c.cost), 0.0), func.coalesce(func.sum(owner_days.c.images), 0)
    query = select(*sums).where(owner_days.c.day >= period_began(period, utc_day(now)))
    if owner is not None:
        query = query.where(owner_days.c.owner == owner)
    return Spending(*connection.execute(query).one())
