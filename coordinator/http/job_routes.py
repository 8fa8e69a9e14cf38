"""Jobs: submit, inspect, control, download."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from common.views import (
    CostTable,
    Deleted,
    Deletion,
    ExportedFile,
    ImagePage,
    ImageView,
    JobSummary,
    JobView,
    Priority,
    Submit,
    Submitted,
)
from coordinator.http.access import READING, STEERING, JobId, TheAct, TheCaller, TheFarm, TheOwner, allow
from coordinator.submission.submit import check_priority

#: Seconds for which the URL of an image is valid.
_URL_S = 3600

#: Of an image in its job; what the ledger can store.
Position = Annotated[int, Path(ge=0, lt=2**31)]

router = APIRouter(prefix="/v1/jobs")


@router.post("", dependencies=[allow("submit")], status_code=201)
def submit(submission: Submit, farm: TheFarm, caller: TheCaller, act: TheAct) -> Submitted:
    """Submit a manifest as a new job of the owner of the key.

    422: the manifest is invalid (one line for each problem), a model has no identity in the catalog, or the
    estimate exceeds `limits.max_cost`. 409: the number of images differs from `expected`.
    403: the key does not allow the lane, the priority or the `owner`. 429: its quota or budget is used up.
    """
    return farm.submit(submission, caller, act)


@router.get("", dependencies=[READING])
def jobs(farm: TheFarm, owner: TheOwner) -> list[JobSummary]:
    """List jobs, newest first."""
    return farm.ledger.jobs(owner)


@router.get("/{job_id}", dependencies=[READING])
def job(job_id: JobId, farm: TheFarm) -> JobView:
    """Return one job with progress, cost and failures."""
    return farm.ledger.job(job_id)


@router.post("/{job_id}/cancel", dependencies=[STEERING])
def cancel(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Cancel the job. Stored images remain, and shots that another job also wants are still rendered."""
    farm.ledger.cancel_job(job_id, act=act)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/pause", dependencies=[STEERING])
def pause(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Pause the job: running shots finish, and no others start."""
    farm.ledger.pause_job(job_id, act=act)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/resume", dependencies=[STEERING])
def resume(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Resume a paused job. 409: the job is cancelled."""
    farm.ledger.resume_job(job_id, act=act)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/priority", dependencies=[STEERING])
def prioritise(job_id: JobId, wish: Priority, farm: TheFarm, caller: TheCaller, act: TheAct) -> JobView:
    """Set the priority of the job, effective from the next claim. 403: higher than the key allows."""
    check_priority(caller, wish.priority)
    farm.ledger.prioritise_job(job_id, wish.priority, act=act._replace(detail=str(wish.priority)))
    return farm.ledger.job(job_id)


@router.post("/{job_id}/retry", dependencies=[STEERING])
def retry(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Retry only the failed shots, with a fresh set of attempts. 409: the job is cancelled."""
    farm.ledger.retry_job(job_id, act=act)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/requeue", dependencies=[STEERING])
def requeue(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Restart failed, cancelled and unschedulable shots; also continues a cancelled job."""
    farm.ledger.requeue_job(job_id, act=act)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/accept", dependencies=[STEERING])
def accept(job_id: JobId, farm: TheFarm, act: TheAct) -> JobView:
    """Accept the failed shots as permanently missing from this job; other jobs are not affected."""
    farm.ledger.accept_failures(job_id, act=act)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/delete", dependencies=[STEERING])
def delete(job_id: JobId, wish: Deletion, farm: TheFarm, owner: TheOwner, act: TheAct) -> Deleted:
    """Delete the stored images of a job, except those that other active jobs have.

    409: the job is neither finished nor cancelled.
    """
    return farm.delete(farm.ledger.delete_job(job_id, act.key or wish.by, owner=owner, act=act))


@router.get("/{job_id}/images", dependencies=[READING])
def images(
    job_id: JobId,
    farm: TheFarm,
    after: Annotated[int, Query(ge=-1, lt=2**31)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ImagePage:
    """List shots in manifest order after position `after`; stored ones include a presigned GET URL."""
    shots = farm.ledger.images(job_id, after=after, limit=limit)
    return ImagePage(
        images=tuple(_with_url(image, farm) for image in shots),
        next=shots[-1].position if len(shots) == limit else None,
    )


@router.get("/{job_id}/images/{position}/exports/{export}", dependencies=[READING])
async def export(job_id: JobId, position: Position, export: str, farm: TheFarm) -> ExportedFile:
    """Return a presigned GET URL of an image in one of the job's `output.sizes`.

    The first call makes the file from the stored image. 404: the image is not stored, or has no such export.
    """
    return await farm.export(job_id, position, export)


@router.get("/{job_id}/table", dependencies=[READING])
def table(job_id: JobId, farm: TheFarm) -> CostTable:
    """Return cost and seconds per image by model and VRAM class."""
    rows = farm.ledger.cost_table(job_id)
    return CostTable(currency=farm.settings.money.currency, rows=tuple(rows))


def _with_url(image: ImageView, farm: TheFarm) -> ImageView:
    if image.key is None:
        return image
    return image.model_copy(update={"url": farm.store.sign_get(image.key, expires_s=_URL_S)})
