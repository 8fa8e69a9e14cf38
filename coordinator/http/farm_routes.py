"""The farm: status, explanations, health, metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from common.errors import Unavailable
from common.nodes import INGEST_QUEUE
from common.views import BacklogView, Explanation, MemoryView, StatusView
from coordinator.http.access import READING, TheBounds, TheFarm, TheOwner, allow

router = APIRouter()


@router.get("/v1/status", dependencies=[READING])
def status(farm: TheFarm, bounds: TheBounds) -> StatusView:
    """Return queues, nodes, jobs, traffic, and shots that fit no node with the smallest change that helps."""
    return farm.status(bounds)


@router.get("/v1/backlog", dependencies=[allow("read-all")])
def backlog(farm: TheFarm) -> BacklogView:
    """Return what waits and what nodes have in hand, as the planner sees it, for simulations of the farm."""
    return farm.ledger.backlog.view()


@router.get("/v1/memory", dependencies=[allow("read-all")])
def memory(farm: TheFarm) -> list[MemoryView]:
    """List measurements by type of card: largest passes, times of recipes, passes that ran out of memory."""
    return farm.memory()


@router.get("/v1/explain/{subject:path}", dependencies=[READING])
async def explain(subject: str, farm: TheFarm, owner: TheOwner) -> Explanation:
    """Explain what is running, what is waiting and why, and what to do about it.

    `subject` is a node name, a job's ID or name, at least the first six digits of a shot ID, the SHA-256 of a
    stored image, or the name of an image in the newest job that has one of this name. Nodes are explained to
    keys with `read-all` only. 404: no match; 409: several jobs or shots match.
    """
    explanation = await farm.explain(subject, owner)
    try:
        farm.publisher.depths([INGEST_QUEUE])
    except Unavailable as error:
        away = f"No new work starts while the broker is unavailable: {error}."
        return explanation.model_copy(update={"sentences": (away, *explanation.sentences)})
    return explanation


@router.get("/livez")
async def alive() -> dict[str, str]:
    """200 while the process is running, including on standby. Needs no key."""
    return {"status": "ok"}


@router.get("/healthz")
async def health(farm: TheFarm) -> dict[str, str]:
    """200 if this coordinator leads and its ledger responds. Needs no key."""
    await farm.threads.reads.run(farm.ledger.ping)
    return {"status": "ok"}


@router.get("/metrics", dependencies=[allow("metrics")])
def metrics(farm: TheFarm) -> Response:
    """Return metrics in Prometheus text format."""
    return Response(farm.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
