"""Nodes as operators and owners see them: list, drain, pause, resume, quarantine, revoke and others."""

from __future__ import annotations

from fastapi import APIRouter

from common.access_messages import EndedAccess
from common.scopes import Caller
from common.states import NodeState
from common.views import Deleted, Deletion, NodeView, NodeWish, Who
from coordinator.http.access import READING, TheAct, TheBounds, TheCaller, TheFarm, allow, must_be

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

    By the access token of the node, the pause is the owner's. 409: the other of the two has paused it.
    """
    must_be(caller, node_id)
    farm.ledger.nodes.pause(node_id, wish.reason, who=_who(wish, caller), act=act)
    return farm.node(node_id)


@router.post("/{node_id}/resume", dependencies=[allow("operate", "node")])
def resume(node_id: str, farm: TheFarm, caller: TheCaller, act: TheAct, wish: NodeWish = _NONE) -> NodeView:
    """Resume a drained or paused node. 409: it is neither, or someone else paused it."""
    must_be(caller, node_id)
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


@router.post("/{node_id}/vouch", dependencies=[allow("operate")])
def vouch(node_id: str, farm: TheFarm, act: TheAct) -> NodeView:
    """Note that the operator knows the owner of a volunteer's node. 409: it is no volunteer's."""
    farm.ledger.nodes.vouch(node_id, act=act)
    return farm.node(node_id)


@router.post("/{node_id}/disavow", dependencies=[allow("operate")])
def disavow(node_id: str, farm: TheFarm, act: TheAct) -> NodeView:
    """Undo `vouch`: the owner is trusted no more, batches of private lanes go back. 409: no volunteer's."""
    farm.ledger.nodes.disavow(node_id, act=act)
    return farm.node(node_id)


@router.post("/{node_id}/discard-images", dependencies=[allow("operate")])
def discard_images(node_id: str, wish: Deletion, farm: TheFarm, act: TheAct) -> Deleted:
    """Delete all stored images of the node; each job that has one gets the next generation of its shot."""
    discarded = farm.ledger.nodes.discard_images(node_id, act.key or wish.by, act=act)
    return farm.delete(Deleted(images=discarded, kept=0))


@router.post("/{node_id}/forget", dependencies=[allow("operate")])
def forget(node_id: str, farm: TheFarm, act: TheAct) -> NodeView:
    """Leave a node that is offline or lost out of lists, metrics and alerts, until it joins again.

    What it rendered and cost remains. 409: it may still work.
    """
    before = farm.node(node_id)
    farm.ledger.nodes.forget(node_id, act=act)
    return before.model_copy(update={"state": NodeState.FORGOTTEN.value, "reason": ""})


@router.post("/{node_id}/revoke", dependencies=[allow("operate")])
def revoke(node_id: str, farm: TheFarm, act: TheAct, wish: NodeWish = _NONE) -> EndedAccess:
    """Return the batch to the backlog and end the access of the node; neither its key nor another one can
    join under its name, and nobody by its invitation. Returns which nodes joined by that one, too, and still
    may call. 409: it is revoked already."""
    return farm.revoke_node(node_id, wish.reason, act, remove=False)


@router.post("/{node_id}/remove", dependencies=[allow("operate")])
def remove(node_id: str, farm: TheFarm, act: TheAct, wish: NodeWish = _NONE) -> EndedAccess:
    """As `revoke`, and take the node off the list: another key may join under its name."""
    return farm.revoke_node(node_id, wish.reason, act, remove=True)


def _who(wish: NodeWish, caller: Caller) -> Who:
    """Whose wish it is: the key or the access token tells, and on a farm without keys the caller."""
    if caller.allows(["operate"]):
        return wish.by if caller.allows(["node"]) else "operator"
    return "owner"


@router.get("", dependencies=[READING])
def nodes(farm: TheFarm, bounds: TheBounds) -> list[NodeView]:
    """List nodes: all of them, or those of the lanes of the key."""
    return farm.nodes(bounds)
