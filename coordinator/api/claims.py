"""Claims: exchange a ticket for a batch."""

from __future__ import annotations

from fastapi import APIRouter, Request

from common.messages import Claim, ClaimAnswer
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/claims", dependencies=[allow("node")])


@router.post("")
async def claim(claim: Claim, request: Request, farm: TheFarm) -> ClaimAnswer:
    """Compose a batch for this node; if no work is available, wait for it up to `wait_s`.

    403: the ticket was not issued by this farm, or is for another lane or class. 409: the ticket has
    already been used. 410: the incarnation has ended; join again.
    """
    return await farm.claims.answer(claim, hung_up=request.receive)
