"""Nodes and models: what they are, what they do and why they idle; and what operators do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from common.errors import Forbidden, NotFound
from common.views import NodeView
from coordinator.explain.fleet import frugal_sentences, idle_sentences, in_service, slow_sentences
from coordinator.farm import Farm
from coordinator.ledger import Act
from coordinator.metrics.fleet import speed_ratios
from coordinator.web.new_job import model_cards
from coordinator.web.rendering import page
from coordinator.web.visitor import TheForm, TheViewer, TheVisitor, Visitor

router = APIRouter()


class NodeCard(NamedTuple):
    node: NodeView
    in_service: bool
    #: Model to its speed as a multiple of what is usual for such cards; without models of no other such node.
    ratios: Mapping[str, float]
    #: What keeps it from work, what it leaves to others, and what it renders too slowly.
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
    nodes = visitor.farm.nodes(visitor.bounds)
    ratios = usual_ratios(nodes)
    return [NodeCard(node, in_service(node), ratios[node.id], _sentences([node])) for node in nodes]


def usual_ratios(nodes: Sequence[NodeView]) -> dict[str, dict[str, float]]:
    """Nodes to their models and the speed at these, as a multiple of what is usual for such cards.

    Without models that no other node with such a card was measured at.
    """
    alike = Counter((node.card, model) for node in nodes for model in node.speeds)
    known = speed_ratios((node.id, node.card, node.speeds) for node in nodes)
    return {
        node.id: {
            model: known[node.id, model]
            for model in node.speeds
            if alike[node.card, model] > 1 and (node.id, model) in known
        }
        for node in nodes
    }


@router.get("/nodes/{node_id}/images")
def newest(request: Request, visitor: TheViewer, node_id: str) -> Response:
    """The newest images that the node rendered, of those that the visitor sees."""
    found = visitor.farm.ledger.images.of_node(node_id, visitor.owner)
    return page(request, "node_images.html", images=found)


def _sentences(nodes: Sequence[NodeView]) -> tuple[str, ...]:
    return (*idle_sentences(nodes), *frugal_sentences(nodes), *slow_sentences(nodes))


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
    "vouch": lambda farm, node, reason, act: farm.ledger.nodes.vouch(node, act=act),
    "disavow": lambda farm, node, reason, act: farm.ledger.nodes.disavow(node, act=act),
    "forget": lambda farm, node, reason, act: farm.ledger.nodes.forget(node, act=act),
}


@router.post("/nodes/{node_id}/{verb}")
def steer(visitor: TheVisitor, node_id: str, verb: str, form: TheForm) -> Response:
    """Drain, pause, resume, quarantine, forgive or forget a node; vouch for its owner, or no longer."""
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
