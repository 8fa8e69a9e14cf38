"""Claims: a ticket becomes a batch, or waits for one."""

from __future__ import annotations

from fastapi import APIRouter, Request

from common.messages import Claim, ClaimAnswer
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/claims", dependencies=[allow("node")])


@router.post("")
async def claim(claim: Claim, request: Request, farm: TheFarm) -> ClaimAnswer:
    """Compose a batch for this node now, or as soon as there is work, within `wait_s`.

    403: no ticket of this farm, or one of another lane or class than the node's. 409: the ticket is
    spent. 410: the incarnation is over, join again.
    """
    return await farm.claims.answer(claim, hung_up=request.receive)
