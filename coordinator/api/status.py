"""The farm as a whole: status, models, health, metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.views import MemoryView, ModelView, StatusView
from coordinator.api.access import TheFarm, allow

router = APIRouter()


@router.get("/v1/status", dependencies=[allow("operator")])
def status(farm: TheFarm) -> StatusView:
    """Queues, nodes, jobs, traffic, and what fits nowhere with the smallest change that would."""
    return farm.status()


@router.get("/v1/models", dependencies=[allow("operator", "node")])
def models(farm: TheFarm) -> list[ModelView]:
    """The catalog of this farm."""
    return farm.models()


@router.get("/v1/memory", dependencies=[allow("operator")])
def memory(farm: TheFarm) -> list[MemoryView]:
    """What each type of card has shown about memory: the largest pass measured, and what ran out."""
    return farm.memory()


@router.get("/livez")
async def alive() -> dict[str, str]:
    """200 as long as the process answers, also while it stands by for another coordinator; needs no key."""
    return {"status": "ok"}


@router.get("/healthz")
async def health(farm: TheFarm) -> dict[str, str]:
    """200 where a coordinator leads and its ledger answers; needs no key and says nothing else."""
    await farm.threads.orders.run(farm.ledger.ping)
    return {"status": "ok"}


@router.get("/metrics", dependencies=[allow("operator", "node", "ingest")])
def metrics(farm: TheFarm) -> Response:
    """Prometheus text format. Any key of the farm opens it."""
    return Response(generate_latest(farm.metrics), media_type=CONTENT_TYPE_LATEST)
