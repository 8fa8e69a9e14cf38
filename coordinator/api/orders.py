"""Orders: long polling, so that a node receives new orders immediately."""

from __future__ import annotations

from fastapi import APIRouter, Request

from common.messages import BeatAnswer, Listen
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/nodes/{node_id}/orders", dependencies=[allow("node")])


@router.post("")
async def listen(node_id: str, listen: Listen, request: Request, farm: TheFarm) -> BeatAnswer:
    """Return the order for the node as soon as it differs from `known`, or after `wait_s`.

    A newer call from the node ends this one. 410: the incarnation has ended; join again.
    """
    return await farm.orders.answer(node_id, listen, hung_up=request.receive)
