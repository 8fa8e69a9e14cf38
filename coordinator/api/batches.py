"""Batches: calls of the node that holds the lease, authorised by the token of the batch."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Ack, Close, Grant, GrantRequest, Report
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/batches/{batch_id}", dependencies=[allow("node")])


@router.post("/grants", status_code=201)
async def grant(batch_id: str, wish: GrantRequest, farm: TheFarm) -> Grant:
    """Return a presigned PUT for one rendered shot. 410: the lease has ended. 422: larger than 32 MiB."""
    return await farm.threads.reports.run(farm.grant, batch_id, wish)


@router.post("/reports")
async def report(batch_id: str, report: Report, farm: TheFarm) -> Ack:
    """Report one shot as uploaded or failed. Idempotent. 410: the lease has ended."""
    return await farm.threads.reports.run(farm.report, batch_id, report)


@router.post("/close")
async def close(batch_id: str, close: Close, farm: TheFarm) -> Ack:
    """Close the batch; shots that were not reported return to the backlog. Idempotent."""
    return await farm.threads.reports.run(farm.close_batch, batch_id, close)
