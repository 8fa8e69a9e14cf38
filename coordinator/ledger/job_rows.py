"""Rows of jobs, for all that a job decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, String, bindparam, select

from common.errors import Gone, NotFound
from common.exports import Export, JobExports
from coordinator.ledger.schema import jobs

#: All columns of a job but its manifest, which may have megabytes: only `Jobs.manifest` reads it.
JOB: Final = tuple(column for column in jobs.c if column.name != "manifest")
#: Built once, as nearly every call about a job reads it.
_JOB_ROW: Final = select(*JOB).where(jobs.c.id == bindparam("job", type_=String))


def job_row(connection: Connection, job_id: str) -> Row[Any]:
    row = connection.execute(_JOB_ROW, {"job": job_id}).one_or_none()
    if row is None:
        raise NotFound(f"no job {job_id}; `farm jobs` lists them")
    return row


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
