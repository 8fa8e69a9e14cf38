"""Nodes: join, stay alive, be seen."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Beat, BeatAnswer, Join, Joined, Leave
from common.views import NodeView, NodeWish, Who
from coordinator.api.access import Role, TheFarm, TheRole, allow

router = APIRouter(prefix="/v1/nodes")

#: What a call without a body wishes.
_NONE = NodeWish()


@router.post("", status_code=201, dependencies=[allow("node")])
async def join(node: Join, farm: TheFarm) -> Joined:
    """Take part, from now on as a new incarnation: leases of an older one close as vanished.

    409: the node speaks another protocol version, or joins again after another process took its name.
    """
    return await farm.threads.reports.run(farm.join, node)


@router.post("/{node_id}/beats", dependencies=[allow("node")])
async def beat(node_id: str, beat: Beat, farm: TheFarm) -> BeatAnswer:
    """Say that the node lives, and renew the lease it names.

    Answered once the beat is in the ledger, within a fifth of `heartbeat_s`. A lease that is over is
    answered `stop`; 410: the incarnation is over, join again.
    """
    return await farm.beats.put(node_id, beat)


@router.post("/{node_id}/leave", dependencies=[allow("node")])
async def leave(node_id: str, leave: Leave, farm: TheFarm) -> NodeView:
    """Say that the node has ended: it is offline until it joins again. 410: it has joined again since."""
    await farm.threads.reports.run(farm.ledger.leave_node, node_id, leave.incarnation)
    return await farm.threads.reports.run(farm.node, node_id)


@router.post("/{node_id}/drain", dependencies=[allow("operator")])
def drain(node_id: str, farm: TheFarm, wish: NodeWish = _NONE) -> NodeView:
    """Let it finish its batch and take no other. 409: there is nothing to drain."""
    farm.ledger.drain_node(node_id, wish.reason)
    return farm.node(node_id)


@router.post("/{node_id}/pause", dependencies=[allow("operator", "node")])
def pause(node_id: str, farm: TheFarm, role: TheRole, wish: NodeWish = _NONE) -> NodeView:
    """Take its batch back without blame and free its card at once; with the node's key, for its owner.

    409: its owner has paused it already.
    """
    farm.ledger.pause_node(node_id, wish.reason, who=_who(wish, role))
    return farm.node(node_id)


@router.post("/{node_id}/resume", dependencies=[allow("operator", "node")])
def resume(node_id: str, farm: TheFarm, role: TheRole, wish: NodeWish = _NONE) -> NodeView:
    """Let a drained or paused node work again. 409: it is neither, or the pause is not the caller's."""
    farm.ledger.resume_node(node_id, who=_who(wish, role))
    return farm.node(node_id)


@router.post("/{node_id}/quarantine", dependencies=[allow("operator")])
def quarantine(node_id: str, farm: TheFarm, wish: NodeWish = _NONE) -> NodeView:
    """Take its batch back without blame; after a while it must pass a self-test to work again."""
    farm.ledger.quarantine_node(node_id, wish.reason)
    return farm.node(node_id)


@router.post("/{node_id}/forgive", dependencies=[allow("operator")])
def forgive(node_id: str, farm: TheFarm) -> NodeView:
    """Trust it again at once, with a clean record."""
    farm.ledger.forgive_node(node_id)
    return farm.node(node_id)


def _who(wish: NodeWish, role: Role | None) -> Who:
    """Whose wish it is: the key tells, and on a farm without keys the caller."""
    if role is None:
        return wish.by
    return "owner" if role == "node" else "operator"


@router.get("", dependencies=[allow("operator")])
def nodes(farm: TheFarm) -> list[NodeView]:
    return farm.nodes()
