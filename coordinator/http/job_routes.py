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
from coordinator.http.access import TheFarm, allow

#: Seconds for which the URL of an image is valid.
_URL_S = 3600

#: Of an image in its job; what the ledger can store.
Position = Annotated[int, Path(ge=0, lt=2**31)]

router = APIRouter(prefix="/v1/jobs", dependencies=[allow("operator")])


@router.post("", status_code=201)
def submit(submission: Submit, farm: TheFarm) -> Submitted:
    """Submit a manifest as a new job.

    422: the manifest is invalid (one line for each problem), a model has no identity in the catalog, or the
    estimate exceeds `limits.max_cost`. 409: the number of images differs from `expected`.
    """
    return farm.submit(submission)


@router.get("")
def jobs(farm: TheFarm) -> list[JobSummary]:
    """List all jobs, newest first."""
    return farm.ledger.jobs()


@router.get("/{job_id}")
def job(job_id: str, farm: TheFarm) -> JobView:
    """Return one job with progress, cost and failures."""
    return farm.ledger.job(job_id)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, farm: TheFarm) -> JobView:
    """Cancel the job. Stored images remain, and shots that another job also wants are still rendered."""
    farm.ledger.cancel_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/pause")
def pause(job_id: str, farm: TheFarm) -> JobView:
    """Pause the job: running shots finish, and no others start."""
    farm.ledger.pause_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/resume")
def resume(job_id: str, farm: TheFarm) -> JobView:
    """Resume a paused job. 409: the job is cancelled."""
    farm.ledger.resume_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/priority")
def prioritise(job_id: str, wish: Priority, farm: TheFarm) -> JobView:
    """Set the priority of the job, effective from the next claim."""
    farm.ledger.prioritise_job(job_id, wish.priority)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/retry")
def retry(job_id: str, farm: TheFarm) -> JobView:
    """Retry only the failed shots, with a fresh set of attempts. 409: the job is cancelled."""
    farm.ledger.retry_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/requeue")
def requeue(job_id: str, farm: TheFarm) -> JobView:
    """Restart failed, cancelled and unschedulable shots; also continues a cancelled job."""
    farm.ledger.requeue_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/accept")
def accept(job_id: str, farm: TheFarm) -> JobView:
    """Accept the failed shots as permanently missing from this job; other jobs are not affected."""
    farm.ledger.accept_failures(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/delete")
def delete(job_id: str, wish: Deletion, farm: TheFarm) -> Deleted:
    """Delete the stored images of a job, except those that other active jobs have.

    409: the job is neither finished nor cancelled.
    """
    return farm.delete(farm.ledger.delete_job(job_id, wish.by))


@router.get("/{job_id}/images")
def images(
    job_id: str,
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


@router.get("/{job_id}/images/{position}/exports/{export}")
async def export(job_id: str, position: Position, export: str, farm: TheFarm) -> ExportedFile:
    """Return a presigned GET URL of an image in one of the job's `output.sizes`.

    The first call makes the file from the stored image. 404: the image is not stored, or has no such export.
    """
    return await farm.export(job_id, position, export)


@router.get("/{job_id}/table")
def table(job_id: str, farm: TheFarm) -> CostTable:
    """Return cost and seconds per image by model and VRAM class."""
    rows = farm.ledger.cost_table(job_id)
    return CostTable(currency=farm.settings.money.currency, rows=tuple(rows))


def _with_url(image: ImageView, farm: TheFarm) -> ImageView:
    if image.key is None:
        return image
    return image.model_copy(update={"url": farm.store.sign_get(image.key, expires_s=_URL_S)})
