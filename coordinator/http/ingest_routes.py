"""Calls of ingest: take uploads to check, and report verdicts on them."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Acks, Deliveries, DeliveryRequest, Verdicts
from coordinator.http.access import TheFarm, allow

router = APIRouter(prefix="/v1", dependencies=[allow("ingest")])


@router.post("/deliveries")
async def deliveries(wish: DeliveryRequest, farm: TheFarm) -> Deliveries:
    """Return uploads to check; attempts that are unknown or need no verdict any more are left out."""
    return Deliveries(deliveries=await farm.take_deliveries(wish.attempt_ids))


@router.post("/verdicts")
async def verdicts(body: Verdicts, farm: TheFarm) -> Acks:
    """Report that ingest stored, rejected or postponed images. Idempotent.

    Attempts that are unknown or need no verdict any more are left out of the response. If one of the others
    is refused, the response is its error; the rest are accepted.
    """
    return Acks(acks=await farm.accept_verdicts(body.verdicts))
