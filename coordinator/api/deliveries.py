"""Deliveries: what ingest fetches and answers, one upload at a time."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Ack, Delivery, Verdict
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/deliveries/{attempt_id}", dependencies=[allow("ingest")])


@router.get("")
async def delivery(attempt_id: str, farm: TheFarm) -> Delivery:
    """404: no such attempt. 409: it needs no answer any more."""
    return await farm.threads.reports.run(farm.ledger.delivery, attempt_id)


@router.post("")
async def verdict(attempt_id: str, verdict: Verdict, farm: TheFarm) -> Ack:
    """Ingest stored the image or refuses it. Repeating it changes nothing."""
    return await farm.threads.reports.run(farm.ledger.verdict, attempt_id, verdict)
