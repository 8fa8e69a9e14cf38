"""Nodes as operators and owners see them: list, drain, pause, resume, quarantine, forgive, forget."""

from __future__ import annotations

from fastapi import APIRouter

from common.scopes import Caller
from common.states import NodeState
from common.views import NodeView, NodeWish, Who
from coordinator.http.access import READING, TheAct, TheBounds, TheCaller, TheFarm, allow

router = APIRouter(prefix="/v1/nodes")

#: What a call without a body wishes.
_NONE = NodeWish()


@router.post("/{node_id}/drain", dependencies=[allow("operate")])
def drain(node_id: str, farm: TheFarm, act: TheAct, wish: NodeWish = _NONE) -> NodeView:
    """Let the node finish its batch, then take it offline. 409: its state does not allow it."""
    farm.ledger.nodes.drain(node_id, wish.reason, act=act)
    return farm.node(node_id)


@router.post("/{node_id}/pause", dependencies=[allow("operate", "node")])
def pause(node_id: str, farm: TheFarm, caller: TheCaller, act: TheAct, wish: NodeWish = _NONE) -> NodeView:
    """Release the GPU immediately and return the batch to the backlog without failed attempts.

    With the node key, the pause is the owner's. 409: the owner has already paused the node.
    """
    farm.ledger.nodes.pause(node_id, wish.reason, who=_who(wish, caller), act=act)
    return farm.node(node_id)


@router.post("/{node_id}/resume", dependencies=[allow("operate", "node")])
def resume(node_id: str, farm: TheFarm, caller: TheCaller, act: TheAct, wish: NodeWish = _NONE) -> NodeView:
    """Resume a drained or paused node. 409: it is neither, or someone else paused it."""
    farm.ledger.nodes.resume(node_id, who=_who(wish, caller), act=act)
    return farm.node(node_id)


@router.post("/{node_id}/quarantine", dependencies=[allow("operate")])
def quarantine(node_id: str, farm: TheFarm, act: TheAct, wish: NodeWish = _NONE) -> NodeView:
    """Return the batch to the backlog without failed attempts; the node must later pass a self-test."""
    farm.ledger.nodes.quarantine(node_id, wish.reason, act=act)
    return farm.node(node_id)


@router.post("/{node_id}/forgive", dependencies=[allow("operate")])
def forgive(node_id: str, farm: TheFarm, act: TheAct) -> NodeView:
    """End the quarantine immediately and clear the failure record."""
    farm.ledger.nodes.forgive(node_id, act=act)
    return farm.node(node_id)


@router.post("/{node_id}/forget", dependencies=[allow("operate")])
def forget(node_id: str, farm: TheFarm, act: TheAct) -> NodeView:
    """Leave a node that is offline or lost out of lists, metrics and alerts, until it joins again.

    What it rendered and cost remains. 409: it may still work.
    """
    before = farm.node(node_id)
    farm.ledger.nodes.forget(node_id, act=act)
    return before.model_copy(update={"state": NodeState.FORGOTTEN.value, "reason": ""})


def _who(wish: NodeWish, caller: Caller) -> Who:
    """Whose wish it is: the key tells, and on a farm without keys the caller."""
    if caller.allows(["operate"]):
        return wish.by if caller.allows(["node"]) else "operator"
    return "owner"


@router.get("", dependencies=[READING])
def nodes(farm: TheFarm, bounds: TheBounds) -> list[NodeView]:
    """List nodes: all of them, or those of the lanes of the key."""
    return farm.nodes(bounds)
