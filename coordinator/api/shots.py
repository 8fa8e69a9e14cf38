"""Shots, independent of the jobs that want them."""

from __future__ import annotations

from fastapi import APIRouter

from common.views import AcceptedShot
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/shots", dependencies=[allow("operator")])


@router.post("/{shot_id}/accept")
def accept(shot_id: str, farm: TheFarm, job: str | None = None) -> AcceptedShot:
    """Accept a failed shot as permanently missing from `job`, or from all jobs of its only owner.

    At least the first six digits of its ID are required. 409: the shot has not failed, several shots match,
    or jobs of several owners want it and `job` is missing.
    """
    return AcceptedShot(id=farm.ledger.accept_shot(shot_id, job))
