"""Deliveries: uploads that ingest checks, one at a time."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Ack, Delivery, Verdict
from coordinator.http.access import TheFarm, allow

router = APIRouter(prefix="/v1/deliveries/{attempt_id}", dependencies=[allow("ingest")])


@router.get("")
async def delivery(attempt_id: str, farm: TheFarm) -> Delivery:
    """Return an upload to check. 404: no such attempt. 409: it needs no verdict any more."""
    return await farm.deliveries.put(attempt_id)


@router.post("")
async def verdict(attempt_id: str, verdict: Verdict, farm: TheFarm) -> Ack:
    """Report that ingest stored, rejected or postponed the image. Idempotent."""
    return await farm.verdicts.put((attempt_id, verdict))
