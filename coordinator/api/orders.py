"""Orders: a node listens for what it is to do, and hears it at once."""

from __future__ import annotations

from fastapi import APIRouter, Request

from common.messages import BeatAnswer, Listen
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/nodes/{node_id}/orders", dependencies=[allow("node")])


@router.post("")
async def listen(node_id: str, listen: Listen, request: Request, farm: TheFarm) -> BeatAnswer:
    """What a heartbeat would be answered, as soon as it is not what the node knows, or after `wait_s`.

    A newer call of the node ends this one. 410: the incarnation is over, join again.
    """
    return await farm.orders.answer(node_id, listen, hung_up=request.receive)
