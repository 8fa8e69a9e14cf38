"""Jobs: submit, look, steer, fetch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from common.views import CostTable, ImagePage, ImageView, JobSummary, JobView, Priority, Submit, Submitted
from coordinator.api.access import TheFarm, allow
from coordinator.ledger.specs import image_key
from coordinator.submit import submit_manifest

#: Seconds that an image's URL is good for.
_URL_S = 3600

router = APIRouter(prefix="/v1/jobs", dependencies=[allow("operator")])


@router.post("", status_code=201)
def submit(order: Submit, farm: TheFarm) -> Submitted:
    """Expand a manifest and want all its shots.

    422: the manifest is wrong (every problem, a line each), a model's identity is not fixed, the
    estimate passes `limits.max_cost`, or `expected` is another number.
    """
    return submit_manifest(order, farm)


@router.get("")
def jobs(farm: TheFarm) -> list[JobSummary]:
    """All jobs, the newest first."""
    return farm.ledger.jobs()


@router.get("/{job_id}")
def job(job_id: str, farm: TheFarm) -> JobView:
    return farm.ledger.job(job_id)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, farm: TheFarm) -> JobView:
    """Want none of its shots any more; what other jobs want too goes on, what is stored stays."""
    farm.ledger.cancel_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/pause")
def pause(job_id: str, farm: TheFarm) -> JobView:
    """Claim no more of its shots; what runs is finished."""
    farm.ledger.pause_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/resume")
def resume(job_id: str, farm: TheFarm) -> JobView:
    """Go on with a paused job; 409 for a cancelled one."""
    farm.ledger.resume_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/priority")
def prioritise(job_id: str, wish: Priority, farm: TheFarm) -> JobView:
    """Change its priority; claims from now on follow it."""
    farm.ledger.prioritise_job(job_id, wish.priority)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/retry")
def retry(job_id: str, farm: TheFarm) -> JobView:
    """Give its failed shots, and no others, a fresh start; 409 for a cancelled job."""
    farm.ledger.retry_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/requeue")
def requeue(job_id: str, farm: TheFarm) -> JobView:
    """Give its failed and cancelled shots a fresh start; a cancelled job goes on with what was left."""
    farm.ledger.requeue_job(job_id)
    return farm.ledger.job(job_id)


@router.post("/{job_id}/accept")
def accept(job_id: str, farm: TheFarm) -> JobView:
    """Accept its failed shots as permanently missing; other jobs that want them do not."""
    farm.ledger.accept_failures(job_id)
    return farm.ledger.job(job_id)


@router.get("/{job_id}/images")
def images(
    job_id: str,
    farm: TheFarm,
    after: Annotated[int, Query(ge=-1, lt=2**31)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ImagePage:
    """Its shots in the manifest's order behind place `after`; each stored one with a presigned GET."""
    shots = farm.ledger.images(job_id, after=after, limit=limit)
    return ImagePage(
        images=tuple(_with_url(image, farm) for image in shots),
        next=shots[-1].position if len(shots) == limit else None,
    )


@router.get("/{job_id}/table")
def table(job_id: str, farm: TheFarm) -> CostTable:
    """Cost and seconds per image by model and class."""
    rows = farm.ledger.cost_table(job_id)
    return CostTable(currency=farm.settings.money.currency, rows=tuple(rows))


def _with_url(image: ImageView, farm: TheFarm) -> ImageView:
    if image.sha256 is None:
        return image
    key = image_key(image.shot_id, image.format)
    return image.model_copy(update={"url": farm.store.sign_get(key, expires_s=_URL_S)})
