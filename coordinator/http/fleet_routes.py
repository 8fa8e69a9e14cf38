"""Nodes as operators and owners see them: list, drain, pause, resume, quarantine, forgive."""

from __future__ import annotations

from fastapi import APIRouter

from common.views import NodeView, NodeWish, Who
from coordinator.http.access import Role, TheFarm, TheRole, allow

router = APIRouter(prefix="/v1/nodes")

#: What a call without a body wishes.
_NONE = NodeWish()


@router.post("/{node_id}/drain", dependencies=[allow("operator")])
def drain(node_id: str, farm: TheFarm, wish: NodeWish = _NONE) -> NodeView:
    """Let the node finish its batch, then take it offline. 409: its state does not allow it."""
    farm.ledger.drain_node(node_id, wish.reason)
    return farm.node(node_id)


@router.post("/{node_id}/pause", dependencies=[allow("operator", "node")])
def pause(node_id: str, farm: TheFarm, role: TheRole, wish: NodeWish = _NONE) -> NodeView:
    """Release the GPU immediately and return the batch to the backlog without failed attempts.

    With the node key, the pause is the owner's. 409: the owner has already paused the node.
    """
    farm.ledger.pause_node(node_id, wish.reason, who=_who(wish, role))
    return farm.node(node_id)


@router.post("/{node_id}/resume", dependencies=[allow("operator", "node")])
def resume(node_id: str, farm: TheFarm, role: TheRole, wish: NodeWish = _NONE) -> NodeView:
    """Resume a drained or paused node. 409: it is neither, or someone else paused it."""
    farm.ledger.resume_node(node_id, who=_who(wish, role))
    return farm.node(node_id)


@router.post("/{node_id}/quarantine", dependencies=[allow("operator")])
def quarantine(node_id: str, farm: TheFarm, wish: NodeWish = _NONE) -> NodeView:
    """Return the batch to the backlog without failed attempts; the node must later pass a self-test."""
    farm.ledger.quarantine_node(node_id, wish.reason)
    return farm.node(node_id)


@router.post("/{node_id}/forgive", dependencies=[allow("operator")])
def forgive(node_id: str, farm: TheFarm) -> NodeView:
    """End the quarantine immediately and clear the failure record."""
    farm.ledger.forgive_node(node_id)
    return farm.node(node_id)


def _who(wish: NodeWish, role: Role | None) -> Who:
    """Whose wish it is: the key tells, and on a farm without keys the caller."""
    if role is None:
        return wish.by
    return "owner" if role == "node" else "operator"


@router.get("", dependencies=[allow("operator")])
def nodes(farm: TheFarm) -> list[NodeView]:
    """List all nodes."""
    return farm.nodes()
