"""Jobs: submit, inspect, control, download."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from common.errors import Unreadable
from common.states import ShotState
from common.views import (
    CostTable,
    Deleted,
    Deletion,
    ExportedFile,
    JobPage,
    JobView,
    Priority,
    ShotPage,
    Submitted,
)
from coordinator.http import requests
from coordinator.http.access import READING, STEERING, JobId, TheAct, TheCaller, TheFarm, TheOwner, allow
from coordinator.http.ordered_images import with_url
from coordinator.http.requests import MANIFEST_BODY, Cursor, TheRequest, TheSubmission
from coordinator.ledger import JobFilter, ShotFilter
from coordinator.submission.submit import check_priority

#: Of an image in its job; what the ledger can store.
Position = Annotated[int, Path(ge=0, lt=2**31)]

JobStatus = Literal[
    "waiting", "running", "paused", "cancelled", "done", "withheld", "failed", "unschedulable"
]

router = APIRouter(prefix="/v1/jobs")


@router.post(
    "",
    dependencies=[allow("submit")],
    status_code=201,
    openapi_extra={"requestBody": MANIFEST_BODY},
)
def submit(
    submission: TheSubmission, farm: TheFarm, caller: TheCaller, act: TheAct, request: TheRequest
) -> Submitted:
    """Submit a manifest as a new job of the owner of the key: YAML or JSON, alone or in a `Submit` message.

    A request that is sent again within a day with the same `Idempotency-Key` gets the same answer and makes
    no second job. 422: the key was sent with another request. 409: the first is not answered yet.

    422: the manifest is invalid (one line for each problem), a model has no identity in the catalog, or the
    estimate exceeds `limits.max_cost`. 409: the number of images differs from `expected`.
    403: the key does not allow the lane, the priority or the `owner`. 429: its quota or budget is used up.
    """
    return farm.submit(submission, caller, act, request)


@router.get("", dependencies=[READING])
def jobs(
    farm: TheFarm,
    bound_to: TheOwner,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    owner: str | None = None,
    name: str | None = None,
    status: Annotated[list[JobStatus] | None, Query()] = None,
) -> JobPage:
    """List jobs, newest first: of an `owner`, of a `name`, and with one of these `status`."""
    after = None if cursor is None else requests.place(cursor, float, str)
    if bound_to is not None and owner not in (None, bound_to):
        return JobPage(jobs=())
    found, end = farm.ledger.jobs.page(
        bound_to or owner,
        JobFilter(name, status or ()),
        after=None if after is None else (after[0], after[1]),
        limit=limit,
    )
    return JobPage(jobs=tuple(found), next=None if end is None else requests.cursor(*end))


@router.get("/{job_id}", dependencies=[READING])
def job(job_id: JobId, farm: TheFarm) -> JobView:
    """Return one job with progress, cost and failures."""
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/cancel", dependencies=[STEERING])
def cancel(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Cancel the job. Stored images remain, and shots that another job also wants are still rendered."""
    farm.ledger.jobs.cancel(job_id, act=act)
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/pause", dependencies=[STEERING])
def pause(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Pause the job: running shots finish, and no others start."""
    farm.ledger.jobs.pause(job_id, act=act)
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/resume", dependencies=[STEERING])
def resume(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Resume a paused job. 409: the job is cancelled."""
    farm.ledger.jobs.resume(job_id, act=act)
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/priority", dependencies=[STEERING])
def prioritise(job_id: JobId, wish: Priority, farm: TheFarm, caller: TheCaller, act: TheAct) -> JobView:
    """Set the priority of the job, effective from the next claim. 403: higher than the key allows."""
    check_priority(caller, wish.priority)
    farm.ledger.jobs.prioritise(job_id, wish.priority, act=act._replace(detail=str(wish.priority)))
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/retry", dependencies=[STEERING])
def retry(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Retry only the failed shots, with a fresh set of attempts. 409: the job is cancelled."""
    farm.ledger.jobs.retry(job_id, act=act)
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/requeue", dependencies=[STEERING])
def requeue(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Restart failed, cancelled and unschedulable shots; also continues a cancelled job."""
    farm.ledger.jobs.requeue(job_id, act=act)
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/accept", dependencies=[STEERING])
def accept(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Accept the failed shots as permanently missing from this job; other jobs are not affected."""
    farm.ledger.jobs.accept_failures(job_id, act=act)
    return farm.ledger.jobs.view(job_id)


@router.post("/{job_id}/delete", dependencies=[STEERING])
def delete(job_id: JobId, wish: Deletion, farm: TheFarm, owner: TheOwner, act: TheAct) -> Deleted:
    """Delete the stored images of a job, except those that other active jobs have.

    409: the job is neither finished nor cancelled.
    """
    return farm.delete(farm.ledger.images.delete_of_job(job_id, act.key or wish.by, owner=owner, act=act))


@router.get("/{job_id}/shots", dependencies=[READING])
def shots(
    job_id: JobId,
    farm: TheFarm,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    state: Annotated[list[ShotState] | None, Query()] = None,
    axis: Annotated[list[str] | None, Query(max_length=20, description="Such as `persona:ana`")] = None,
    prompt: Annotated[str, Query(max_length=1000, description="Part of the prompt, in any case")] = "",
) -> ShotPage:
    """List shots in manifest order; stored ones include a presigned GET URL.

    Those in one of these `state`, and with every `axis` value (`group:NAME` for a group) and `prompt` text.
    """
    after = -1 if cursor is None else requests.place(cursor, int)[0]
    if not -1 <= after < 2**31:
        raise Unreadable("cursor: pass the `next` of the page before")
    wanted = ShotFilter(tuple(state or ()), tuple(map(_axis, axis or ())), prompt)
    found, end = farm.ledger.shots.page(job_id, wanted, after=after, limit=limit)
    return ShotPage(
        shots=tuple(with_url(farm, image) for image in found),
        next=None if end is None else requests.cursor(end),
    )


@router.get("/{job_id}/shots/{position}/exports/{export}", dependencies=[READING])
async def export(job_id: JobId, position: Position, export: str, farm: TheFarm) -> ExportedFile:
    """Return a presigned GET URL of an image in one of the job's `output.sizes`.

    The first call makes the file from the stored image. 404: the image is not stored, or has no such export.
    """
    return await farm.export(job_id, position, export)


@router.get("/{job_id}/table", dependencies=[READING])
def table(job_id: JobId, farm: TheFarm) -> CostTable:
    """Return cost and seconds per image by model and VRAM class."""
    rows = farm.ledger.accounts.cost_table(job_id)
    return CostTable(currency=farm.settings.money.currency, rows=tuple(rows))


def _axis(given: str) -> tuple[str, str]:
    """`persona:ana` as name and value."""
    name, colon, value = given.partition(":")
    if not colon:
        raise Unreadable(f"axis: `{given[:50]}` is not of the form NAME:VALUE, such as `persona:ana`")
    return name, value
