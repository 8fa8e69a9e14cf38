"""Batches: what the holder of a lease may ask and say, by the batch's token."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Ack, Close, Grant, GrantRequest, Report
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/batches/{batch_id}", dependencies=[allow("node")])


@router.post("/grants", status_code=201)
async def grant(batch_id: str, wish: GrantRequest, farm: TheFarm) -> Grant:
    """A presigned PUT for one rendered shot. 410: the lease is over. 422: larger than 32 MiB."""
    return await farm.threads.reports.run(farm.grant, batch_id, wish)


@router.post("/reports")
async def report(batch_id: str, report: Report, farm: TheFarm) -> Ack:
    """One shot is uploaded or failed. Repeating it changes nothing. 410: the lease is over."""
    return await farm.threads.reports.run(farm.report, batch_id, report)


@router.post("/close")
async def close(batch_id: str, close: Close, farm: TheFarm) -> Ack:
    """The batch is over for this node; shots not reported wait again. Repeating it changes nothing."""
    return await farm.threads.reports.run(farm.close_batch, batch_id, close)
