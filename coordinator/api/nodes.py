"""Nodes: join, stay alive, be seen."""

from __future__ import annotations

from fastapi import APIRouter

from common.messages import Beat, BeatAnswer, Join, Joined
from common.views import NodeView
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/nodes")


@router.post("", status_code=201, dependencies=[allow("node")])
def join(node: Join, farm: TheFarm) -> Joined:
    """Take part, from now on as a new incarnation: leases of an older one close as vanished.

    409: the node speaks another protocol version, or joins again after another process took its name.
    """
    return farm.join(node)


@router.post("/{node_id}/beats", dependencies=[allow("node")])
async def beat(node_id: str, beat: Beat, farm: TheFarm) -> BeatAnswer:
    """Say that the node lives, and renew the lease it names.

    Answered once the beat is in the ledger, within a fifth of `heartbeat_s`. A lease that is over is
    answered `stop`; 410: the incarnation is over, join again.
    """
    return await farm.beats.put(node_id, beat)


@router.post("/{node_id}/drain", dependencies=[allow("operator")])
def drain(node_id: str, farm: TheFarm) -> list[NodeView]:
    """Let it finish its batch and take no other. 409: there is nothing to drain."""
    farm.ledger.drain_node(node_id)
    return farm.nodes()


@router.post("/{node_id}/admit", dependencies=[allow("operator")])
def admit(node_id: str, farm: TheFarm) -> list[NodeView]:
    """Let a drained or quarantined node work again. 409: it is neither."""
    farm.ledger.admit_node(node_id)
    farm.dispatcher.wake()
    return farm.nodes()


@router.get("", dependencies=[allow("operator")])
def nodes(farm: TheFarm) -> list[NodeView]:
    return farm.nodes()
