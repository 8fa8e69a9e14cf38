"""Jobs: submit, look, steer, fetch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from common.views import CostTable, ImagePage, JobSummary, JobView, Submit, Submitted
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/jobs", dependencies=[Depends(allow("operator"))])


@router.post("", status_code=201)
def submit(order: Submit, farm: TheFarm) -> Submitted:
    """Expand a manifest and want all its shots.

    422: the manifest is wrong (every problem, a line each), a model's identity is not fixed, the
    estimate passes `limits.max_cost`, or `expected` is another number.
    """
    return farm.submit(order)


@router.get("")
def jobs(farm: TheFarm) -> list[JobSummary]:
    """All jobs, the newest first."""
    return farm.views.jobs()


@router.get("/{job_id}")
def job(job_id: str, farm: TheFarm) -> JobView:
    return farm.views.job(job_id)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, farm: TheFarm) -> JobView:
    """Want none of its shots any more; what other jobs want too goes on, what is stored stays."""
    return farm.steer(job_id, "cancelled")


@router.post("/{job_id}/pause")
def pause(job_id: str, farm: TheFarm) -> JobView:
    """Claim no more of its shots; what runs is finished."""
    return farm.steer(job_id, "paused")


@router.post("/{job_id}/resume")
def resume(job_id: str, farm: TheFarm) -> JobView:
    """Go on with a paused job; 409 for a cancelled one."""
    return farm.steer(job_id, "active")


@router.get("/{job_id}/images")
def images(
    job_id: str,
    farm: TheFarm,
    after: Annotated[int, Query(ge=-1)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ImagePage:
    """Its shots in the manifest's order from the place behind `after`, each stored one with a presigned GET."""
    return farm.views.images(job_id, after=after, limit=limit)


@router.get("/{job_id}/table")
def table(job_id: str, farm: TheFarm) -> CostTable:
    """Cost and seconds per image by model and class."""
    return farm.views.table(job_id)
