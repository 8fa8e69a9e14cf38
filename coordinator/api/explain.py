"""Explanations: the current state of a job, a shot or a node, and the reason for it."""

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
    """Explain what is running, what is waiting and why, and what to do about it.

    `subject` is a job ID, a node name, or at least the first six digits of a shot ID. 404: no match;
    409: several shots match.
    """
    explanation = farm.ledger.explain(subject, version=version("shotfarm"))
    try:
        farm.publisher.depths([INGEST_QUEUE])
    except Unavailable as error:
        away = f"No new work starts while the broker is unavailable: {error}."
        return explanation.model_copy(update={"sentences": (away, *explanation.sentences)})
    return explanation
