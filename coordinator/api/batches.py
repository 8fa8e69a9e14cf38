"""Batches: calls of the node that holds the lease, authorised by the token of the batch."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Ack, Acks, Close, Grant, GrantRequest, GrantRequests, Grants, Report, Reports
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/batches/{batch_id}", dependencies=[allow("node")])


@router.post("/grants", status_code=201)
async def grant(batch_id: str, wish: GrantRequest, farm: TheFarm) -> Grant:
    """Return a presigned PUT for one rendered shot. 410: the lease has ended. 422: larger than 32 MiB."""
    (granted,) = await farm.threads.reports.run(farm.grants, batch_id, [wish])
    return granted


@router.post("/pass/grants", status_code=201)
async def grants(batch_id: str, wishes: GrantRequests, farm: TheFarm) -> Grants:
    """Return presigned PUTs for several shots, such as those of a pass; for all of them, or for none."""
    return Grants(grants=await farm.threads.reports.run(farm.grants, batch_id, wishes.requests))


@router.post("/reports")
async def report(batch_id: str, report: Report, farm: TheFarm) -> Ack:
    """Report one shot as uploaded or failed. Idempotent. 410: the lease has ended."""
    (ack,) = await farm.report(batch_id, [report])
    return ack


@router.post("/pass/reports")
async def reports(batch_id: str, told: Reports, farm: TheFarm) -> Acks:
    """Report several shots. Idempotent. If one is refused, the response is its error; others are accepted."""
    return Acks(acks=await farm.report(batch_id, told.reports))


@router.post("/close")
async def close(batch_id: str, close: Close, farm: TheFarm) -> Ack:
    """Close the batch; shots that were not reported return to the backlog. Idempotent."""
    return await farm.threads.reports.run(farm.close_batch, batch_id, close)
