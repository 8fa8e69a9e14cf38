"""Calls of nodes: join, send heartbeats, receive orders, claim a batch, upload and report its shots.

An access token allows the calls of its own node (403 for those of another). Calls for a batch also need the
token of the lease.
"""

from __future__ import annotations

from fastapi import APIRouter, Request

from common import messages
from common.views import NodeView
from coordinator.http.access import TheCaller, TheFarm, allow, must_be, must_hold

router = APIRouter(prefix="/v1")
_NODE = [allow("node")]


@router.get("/addresses", dependencies=[allow("join")])
async def addresses(request: Request, farm: TheFarm) -> messages.Addresses:
    """Return where nodes connect to besides the API, so that a machine can check its network."""
    return farm.addresses(gateway=_by_gateway(request))


@router.post("/nodes", dependencies=_NODE, status_code=201)
async def join(node: messages.Join, request: Request, farm: TheFarm, caller: TheCaller) -> messages.Joined:
    """Join the farm as a new incarnation; leases of earlier incarnations close as vanished.

    Owner, lanes and terms are those of its invitation; a node that joined by the node key says them.
    403: it may not serve such a lane. 409: it uses another protocol version, or another process has taken its
    name since it joined.
    """
    must_be(caller, node.name)
    takes_tickets = not _by_gateway(request)
    return await farm.threads.reports.run(farm.join, node, takes_tickets=takes_tickets)


@router.post("/nodes/{node_id}/beats", dependencies=_NODE)
async def heartbeat(
    node_id: str, beat: messages.Heartbeat, farm: TheFarm, caller: TheCaller
) -> messages.HeartbeatAnswer:
    """Send a heartbeat and renew the lease that it names.

    The response follows the commit to the ledger, within a fifth of `heartbeat_s`; it is `stop` if the
    lease has ended. 410: the incarnation has ended; join again.
    """
    must_be(caller, node_id)
    must_hold(caller, beat.batch_id or "", beat.token or "")
    answer = await farm.work_calls.heartbeats.put((node_id, beat))
    return answer.model_copy(update={"catalog_version": farm.farm_catalog.version})


@router.post("/nodes/{node_id}/holdings", dependencies=_NODE)
async def hold(
    node_id: str, holdings: messages.NewHoldings, farm: TheFarm, caller: TheCaller
) -> messages.Ack:
    """Report what the node offers now; its lease goes on. 410: the incarnation has ended; join again."""
    must_be(caller, node_id)
    return messages.Ack(state=await farm.threads.reports.run(farm.ledger.nodes.hold, node_id, holdings))


@router.post("/nodes/{node_id}/measurements", dependencies=_NODE)
async def measure(
    node_id: str, measurements: messages.Measurements, farm: TheFarm, caller: TheCaller
) -> messages.Ack:
    """Report how fast recipes rendered while the node had nothing to do. Recipes are chosen by it for all
    cards of this type, unless the node is a volunteer's or not trusted, or a figure is implausible.

    410: the incarnation has ended; join again.
    """
    must_be(caller, node_id)
    return messages.Ack(state=await farm.threads.reports.run(farm.measure, node_id, measurements))


@router.post("/nodes/{node_id}/leave", dependencies=_NODE)
async def leave(node_id: str, leave: messages.Leave, farm: TheFarm, caller: TheCaller) -> NodeView:
    """Report that the node has stopped; it is offline until it rejoins. 410: it has rejoined already."""
    must_be(caller, node_id)
    await farm.threads.reports.run(farm.ledger.nodes.leave, node_id, leave.incarnation)
    return await farm.threads.reports.run(farm.node, node_id)


@router.post("/nodes/{node_id}/orders", dependencies=_NODE)
async def listen(
    node_id: str, listen: messages.Listen, request: Request, farm: TheFarm, caller: TheCaller
) -> messages.HeartbeatAnswer:
    """Return the order for the node as soon as it differs from `known`, or after `wait_s`.

    A newer call from the node ends this one. 410: the incarnation has ended; join again.
    """
    must_be(caller, node_id)
    must_hold(caller, listen.batch_id or "", listen.token or "")
    return await farm.orders.answer(node_id, listen, hung_up=request.receive)


@router.post("/nodes/{node_id}/park", dependencies=_NODE)
async def park(
    node_id: str, park: messages.Park, request: Request, farm: TheFarm, caller: TheCaller
) -> messages.ParkAnswer:
    """Wait for work and orders by one call, without a ticket: as a heartbeat, an order call and a claim.

    Returns a lease, or an order as soon as it differs from `known`, or after `wait_s` why there is no work.
    A newer call from the node ends this one. 410: the incarnation has ended; join again.
    """
    must_be(caller, node_id)
    return await farm.park(node_id, park, hung_up=request.receive)


@router.post("/claims", dependencies=_NODE)
async def claim(
    claim: messages.Claim, request: Request, farm: TheFarm, caller: TheCaller
) -> messages.ClaimAnswer:
    """Compose a batch for this node; if no work is available, wait for it up to `wait_s`.

    403: the ticket was not issued by this farm, or is for another lane or class. 409: the ticket has
    already been used. 410: the incarnation has ended; join again.
    """
    must_be(caller, claim.node_id)
    return await farm.claims.answer(claim, hung_up=request.receive)


@router.post("/batches/{batch_id}/grants", dependencies=_NODE, status_code=201)
async def grant(
    batch_id: str, wish: messages.GrantRequest, farm: TheFarm, caller: TheCaller
) -> messages.Grant:
    """Return a presigned PUT for one rendered shot. 410: the lease has ended. 413: too large for its size."""
    must_hold(caller, batch_id, wish.token)
    (granted,) = await farm.grants(batch_id, [wish])
    return granted


@router.post("/batches/{batch_id}/pass/grants", dependencies=_NODE, status_code=201)
async def grants(
    batch_id: str, wishes: messages.GrantRequests, farm: TheFarm, caller: TheCaller
) -> messages.Grants:
    """Return presigned PUTs for several shots, such as those of a pass; for all of them, or for none."""
    for wish in wishes.requests:
        must_hold(caller, batch_id, wish.token)
    return messages.Grants(grants=await farm.grants(batch_id, wishes.requests))


@router.post("/batches/{batch_id}/embeddings", dependencies=_NODE)
async def embeddings(
    batch_id: str, request: messages.EmbeddingsRequest, farm: TheFarm, caller: TheCaller
) -> messages.StoredEmbeddings:
    """Return presigned GETs for the embeddings of the batch, also for those that are not stored (404).

    Also texts that the node should encode ahead, for nodes that have no room for the text encoder. No URLs if
    nodes of this farm share none. 410: the lease has ended.
    """
    must_hold(caller, batch_id, request.token)
    return await farm.threads.reports.run(farm.embeddings.find, batch_id, request)


@router.post("/batches/{batch_id}/embeddings/reports", dependencies=_NODE, status_code=201)
async def report_embeddings(
    batch_id: str, report: messages.EmbeddingsReport, farm: TheFarm, caller: TheCaller
) -> messages.Grants:
    """Report how the texts of a batch became embeddings; return presigned PUTs for those to be stored.

    403: the farm takes none from this node, because it is a volunteer's or in quarantine. 410: the lease has
    ended. 422: an embedding of a text that is not in the batch.
    """
    must_hold(caller, batch_id, report.token)
    grants = await farm.threads.reports.run(farm.embeddings.accept, batch_id, report)
    return messages.Grants(grants=tuple(grants))


@router.post("/batches/{batch_id}/reports", dependencies=_NODE)
async def report(batch_id: str, report: messages.Report, farm: TheFarm, caller: TheCaller) -> messages.Ack:
    """Report one shot as uploaded or failed. Idempotent. 410: the lease has ended."""
    must_hold(caller, batch_id, report.token)
    (ack,) = await farm.report(batch_id, [report])
    return ack


@router.post("/batches/{batch_id}/pass/reports", dependencies=_NODE)
async def reports(batch_id: str, body: messages.Reports, farm: TheFarm, caller: TheCaller) -> messages.Acks:
    """Report several shots. Idempotent. If one is refused, the response is its error; others are accepted."""
    for report in body.reports:
        must_hold(caller, batch_id, report.token)
    return messages.Acks(acks=await farm.report(batch_id, body.reports))


@router.post("/batches/{batch_id}/close", dependencies=_NODE)
async def close(batch_id: str, close: messages.Close, farm: TheFarm, caller: TheCaller) -> messages.Ack:
    """Close the batch; shots that were not reported return to the backlog. Idempotent."""
    must_hold(caller, batch_id, close.token)
    return await farm.close_batch(batch_id, close)


def _by_gateway(request: Request) -> bool:
    return messages.GATEWAY_HEADER in request.headers
