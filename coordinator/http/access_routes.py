"""Access of nodes: they prove who they are, replace their keys, and are invited."""

from __future__ import annotations

from fastapi import APIRouter

from common.access_messages import (
    Access,
    AccessRequest,
    Admission,
    Challenge,
    IssuedInvitation,
    KeyRotation,
    NewInvitation,
)
from common.messages import Ack
from coordinator.http.access import TheAct, TheCaller, TheFarm, allow, must_be

router = APIRouter(prefix="/v1")


@router.post("/access/challenges", status_code=201)
async def challenge(farm: TheFarm) -> Challenge:
    """Return what a node has to sign to get access; valid once, for a minute."""
    return farm.node_access.challenge()


@router.post("/access", status_code=201)
async def access(request: AccessRequest, farm: TheFarm) -> Access:
    """Prove to be a node by a signature of a challenge; returns an access token for the calls of this node.

    A key that the farm does not know becomes that of the node if the request shows an invitation.
    401: the signature, the challenge or the invitation is not valid. 403: the key or the invitation is not
    for this node, or was revoked. 409: another key has the name.
    """
    return await farm.threads.reports.run(farm.node_access.give, request)


@router.get("/access", dependencies=[allow("node")])
async def admission(farm: TheFarm, caller: TheCaller) -> Admission:
    """Return to which node an access token belongs, as the gateway asks before it reads a call.

    409: the farm has no keys, so it has no gateway.
    """
    return farm.admission(caller)


@router.post("/nodes/{node_id}/key", dependencies=[allow("node")])
async def rotate(node_id: str, rotation: KeyRotation, farm: TheFarm, caller: TheCaller) -> Ack:
    """Replace the key of a node; its access tokens end. 409: the new key is or was in use."""
    must_be(caller, node_id)
    await farm.threads.reports.run(farm.rotate_node_key, node_id, rotation)
    return Ack(state="rotated")


@router.delete("/nodes/{node_id}/key", dependencies=[allow("node")])
async def end_key(node_id: str, farm: TheFarm, caller: TheCaller) -> Ack:
    """Let a node leave the farm for good: its batch returns to the backlog, its key is never valid again."""
    must_be(caller, node_id)
    await farm.threads.reports.run(farm.end_node_key, node_id)
    return Ack(state="left")


@router.post("/invitations", dependencies=[allow("operate")], status_code=201)
def invite(new: NewInvitation, farm: TheFarm, act: TheAct) -> IssuedInvitation:
    """Invite nodes; only this response contains the secret. 409: the farm has no keys, so nodes need none."""
    return farm.invite_node(new, act)
