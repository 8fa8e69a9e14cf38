"""Plans: what a manifest takes, before it is submitted."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from coordinator.http.access import READING, TheBounds, TheCaller, TheFarm
from coordinator.http.requests import MANIFEST_BODY, TheSubmission
from coordinator.submission.plan import PlanReport

router = APIRouter(prefix="/v1")


@router.post(
    "/plan", dependencies=[READING], response_model=PlanReport, openapi_extra={"requestBody": MANIFEST_BODY}
)
def plan(submission: TheSubmission, farm: TheFarm, caller: TheCaller, bounds: TheBounds) -> Response:
    """Return images, suitable cards, time, cost and warnings of a manifest, as `farm plan` does.

    For the nodes in service in its lane, behind what they have to do and without images that are stored
    (`forecast`), or for reference cards if there are none. Nothing is submitted, and a limit that it exceeds
    is no error here. 422: the manifest is invalid (one line for each problem).
    """
    report = farm.plan(submission, caller, bounds)
    return Response(report.model_dump_json(), media_type="application/json")
