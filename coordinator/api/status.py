"""The farm: status, models, health, metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.views import MemoryView, ModelView, StatusView
from coordinator.api.access import TheFarm, allow

router = APIRouter()


@router.get("/v1/status", dependencies=[allow("operator")])
def status(farm: TheFarm) -> StatusView:
    """Return queues, nodes, jobs, traffic, and shots that fit no node with the smallest change that helps."""
    return farm.status()


@router.get("/v1/models", dependencies=[allow("operator", "node")])
def models(farm: TheFarm) -> list[ModelView]:
    """List the models in the catalog."""
    return farm.models()


@router.get("/v1/memory", dependencies=[allow("operator")])
def memory(farm: TheFarm) -> list[MemoryView]:
    """List memory measurements by type of card: the largest pass, and passes that ran out of memory."""
    return farm.memory()


@router.get("/livez")
async def alive() -> dict[str, str]:
    """200 while the process is running, including on standby. Needs no key."""
    return {"status": "ok"}


@router.get("/healthz")
async def health(farm: TheFarm) -> dict[str, str]:
    """200 if this coordinator leads and its ledger responds. Needs no key."""
    await farm.threads.orders.run(farm.ledger.ping)
    return {"status": "ok"}


@router.get("/metrics", dependencies=[allow("operator", "node", "ingest")])
def metrics(farm: TheFarm) -> Response:
    """Return metrics in Prometheus text format. Accepts any key of the farm."""
    return Response(generate_latest(farm.metrics), media_type=CONTENT_TYPE_LATEST)
