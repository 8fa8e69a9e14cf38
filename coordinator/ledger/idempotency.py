"""Requests that are sent again with the same `Idempotency-Key`: the same job is the answer, for a day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, select, update

from common.errors import Conflict, Invalid
from coordinator.ledger.records import JobName, Repeatable, SubmittedJob
from coordinator.ledger.schema import idempotency_keys, jobs
from coordinator.ledger.transactions import Write

#: Seconds for which a key is known.
_KEPT_S = 86400.0
_RESULT = ("images", "new", "reused", "shared", "unschedulable", "misfits")


def submitted_before(connection: Connection, request: Repeatable) -> tuple[JobName, SubmittedJob] | None:
    """The job of an earlier request with this key, and its result.

    Raises Invalid if that was another request, Conflict if it is not answered yet.
    """
    key = idempotency_keys.c
    found = select(key.digest, key.at, key.result, jobs).join(jobs, jobs.c.id == key.job_id)
    mine = key.caller == request.caller, key.key == request.key
    row = connection.execute(found.where(*mine)).one_or_none()
    if row is None or _was_broken_off(row):
        return None
    if row.digest != request.digest:
        at = f"{datetime.fromtimestamp(row.at, UTC):%Y-%m-%d %H:%M} UTC"
        raise Invalid(
            f"Idempotency-Key {request.key} was sent with another request at {at} (job {row.id}): "
            "send each new request with a new key"
        )
    if row.result is None:
        raise Conflict(
            f"the first request with Idempotency-Key {request.key} is not answered yet: send it again later"
        )
    return JobName(row.name, row.owner, row.random_seed), SubmittedJob(job_id=row.id, **row.result)


def _was_broken_off(row: Row[Any]) -> bool:
    """Whether the submission failed after its job had begun: the request may be tried again."""
    return not row.complete and row.intent == "cancelled"


def begin_request(write: Write, request: Repeatable, job_id: str) -> None:
    """Note that a request submits this job. Raises Conflict if another call with its key was quicker."""
    key = idempotency_keys.c
    mine = key.caller == request.caller, key.key == request.key
    its_job = jobs.c.id == key.job_id, jobs.c.complete.is_(False), jobs.c.intent == "cancelled"
    broken_off = exists().where(*its_job)
    write.connection.execute(delete(idempotency_keys).where(*mine, broken_off))
    if write.connection.execute(select(key.job_id).where(*mine)).first() is not None:
        raise Conflict(f"a request with Idempotency-Key {request.key} was sent twice at once: send it again")
    row = request._asdict() | {"job_id": job_id, "at": write.now}
    write.connection.execute(idempotency_keys.insert(), [row])


def end_request(write: Write, submitted: SubmittedJob) -> None:
    """Keep what the request that submitted a job is answered."""
    result = {name: getattr(submitted, name) for name in _RESULT}
    mine = idempotency_keys.c.job_id == submitted.job_id
    write.connection.execute(update(idempotency_keys).where(mine).values(result=result))


def old_requests(connection: Connection, now: float) -> bool:
    """Whether there are keys to forget."""
    old = select(idempotency_keys.c.at).where(idempotency_keys.c.at < now - _KEPT_S).limit(1)
    return connection.execute(old).first() is not None


def forget_old_requests(write: Write) -> None:
    write.connection.execute(delete(idempotency_keys).where(idempotency_keys.c.at < write.now - _KEPT_S))
