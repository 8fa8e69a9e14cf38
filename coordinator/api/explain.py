"""Explanations: why a job, a shot or a node stands as it does."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter

from common.errors import Unavailable
from common.nodes import INGEST_QUEUE
from common.views import Explanation
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/explain", dependencies=[allow("operator")])


@router.get("/{subject}")
def explain(subject: str, farm: TheFarm) -> Explanation:
    """What runs, what waits and why, and what would change it.

    `subject` is a job's id, a node's name, or six or more digits of a shot's id. 404: none of them;
    409: several shots begin so.
    """
    explanation = farm.ledger.explain(subject, version=version("shotfarm"))
    try:
        farm.publisher.depths([INGEST_QUEUE])
    except Unavailable as error:
        away = f"Nothing new is taken while the broker is away: {error}."
        return explanation.model_copy(update={"sentences": (away, *explanation.sentences)})
    return explanation
