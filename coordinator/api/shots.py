"""Shots by themselves, whichever jobs want them."""

from __future__ import annotations

from fastapi import APIRouter

from common.views import AcceptedShot
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/shots", dependencies=[allow("operator")])


@router.post("/{shot_id}/accept")
def accept(shot_id: str, farm: TheFarm) -> AcceptedShot:
    """Be content without a failed shot; its id may be cut to 6 digits or more.

    409: it has not failed, or more than one shot's id begins so.
    """
    return AcceptedShot(id=farm.ledger.accept_shot(shot_id))
