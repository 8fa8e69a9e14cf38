"""Shots by themselves, whichever jobs want them."""

from __future__ import annotations

from fastapi import APIRouter

from common.views import AcceptedShot
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/shots", dependencies=[allow("operator")])


@router.post("/{shot_id}/accept")
def accept(shot_id: str, farm: TheFarm, job: str | None = None) -> AcceptedShot:
    """Accept a failed shot as permanently missing from `job`, or from all jobs of the one owner who wants it.

    Its id may be cut to 6 digits or more. 409: it has not failed, or jobs of several owners want it and `job`
    names none, or more than one shot's id begins so.
    """
    return AcceptedShot(id=farm.ledger.accept_shot(shot_id, job))
