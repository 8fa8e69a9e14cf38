"""Nodes and models: what they are, what they do and why they idle; and what operators do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from common.errors import Forbidden, NotFound
from common.views import NodeView
from coordinator.explain.fleet import idle_sentences, in_service, slow_sentences
from coordinator.farm import Farm
from coordinator.ledger import Act
from coordinator.web.new_job import model_cards
from coordinator.web.rendering import page
from coordinator.web.visitor import TheForm, TheViewer, TheVisitor, Visitor

router = APIRouter()


class NodeCard(NamedTuple):
    node: NodeView
    in_service: bool
    #: What keeps it from work, and what it renders too slowly.
    sentences: tuple[str, ...]


@router.get("/nodes")
def show(request: Request, visitor: TheVisitor) -> Response:
    """All nodes."""
    return page(request, "nodes.html", cards=_cards(visitor))


@router.get("/nodes/list")
def part(request: Request, visitor: TheViewer) -> Response:
    """What of the page changes."""
    return page(request, "nodes_part.html", cards=_cards(visitor))


def _cards(visitor: Visitor) -> list[NodeCard]:
    return [
        NodeCard(node, in_service(node), (*idle_sentences([node]), *slow_sentences([node])))
        for node in visitor.farm.nodes(visitor.bounds)
    ]


@router.get("/nodes/{node_id}/why")
async def why(request: Request, visitor: TheVisitor, node_id: str) -> Response:
    """What the node does, or why it gets no work. Needs `read-all`, as `farm explain` does."""
    if visitor.owner is not None:
        raise Forbidden("explanations of nodes need a key with the scope read-all")
    told = await visitor.farm.explain(node_id, owner=None)
    return page(request, "why.html", told=told)


Verb = Callable[[Farm, str, str, Act], object]
#: What can be done with a node, by the last part of the address.
VERBS: dict[str, Verb] = {
    "drain": lambda farm, node, reason, act: farm.ledger.nodes.drain(node, reason, act=act),
    "pause": lambda farm, node, reason, act: farm.ledger.nodes.pause(node, reason, act=act),
    "resume": lambda farm, node, reason, act: farm.ledger.nodes.resume(node, act=act),
    "quarantine": lambda farm, node, reason, act: farm.ledger.nodes.quarantine(node, reason, act=act),
    "forgive": lambda farm, node, reason, act: farm.ledger.nodes.forgive(node, act=act),
    "forget": lambda farm, node, reason, act: farm.ledger.nodes.forget(node, act=act),
}


@router.post("/nodes/{node_id}/{verb}")
def steer(visitor: TheVisitor, node_id: str, verb: str, form: TheForm) -> Response:
    """Drain, pause, resume, quarantine, forgive or forget a node."""
    if verb not in VERBS:
        raise NotFound("there is no such page")
    if not visitor.may_operate:
        raise Forbidden(
            f"the {visitor.caller.name} key does not allow this: it needs the scope operate "
            "(`farm whoami` shows what it allows)"
        )
    reason = form.text("reason").strip()[:200]
    VERBS[verb](visitor.farm, node_id, reason, visitor.act(f"node {verb}", node_id))
    return RedirectResponse("/nodes", 303)


@router.get("/models")
def models(request: Request, visitor: TheVisitor) -> Response:
    """All models of the catalog, and which nodes have them."""
    nodes = visitor.farm.nodes(visitor.bounds)
    return page(request, "models.html", cards=model_cards(visitor), nodes=nodes)
