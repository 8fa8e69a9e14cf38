"""Which nodes of a farm need someone's action, from their views."""

from __future__ import annotations

from collections.abc import Iterable

from common.states import IN_SERVICE, NodeState
from common.views import NodeView
from coordinator.explain.facts import NodeFacts
from coordinator.explain.wording import left_to_others, out_of_service, slowly


def in_service(node: NodeView) -> bool:
    """Returns whether the node accepts work now, or will after finishing its current work."""
    return node.state in IN_SERVICE


def idle_sentences(nodes: Iterable[NodeView]) -> list[str]:
    """Returns a sentence for each node that needs someone's action to work again, with the remedy.

    Omits nodes that their owners stopped, because this is a regular event.
    """
    lines = []
    for node in nodes:
        ended = node.state == NodeState.OFFLINE and node.decided_by == "owner"
        if not in_service(node) and not ended:
            answer = out_of_service(node_facts(node))
            lines.append(f"{answer.sentence} → {answer.remedy}" if answer.remedy else answer.sentence)
    return lines


def slow_sentences(nodes: Iterable[NodeView]) -> list[str]:
    """Returns a sentence for each model that a node in service renders much slower than expected."""
    return [
        f"node {node.name} {slowly(path)} → {path.remedy}"
        for node in nodes
        if in_service(node)
        for path in node.slow_paths
    ]


def frugal_sentences(nodes: Iterable[NodeView]) -> list[str]:
    """Returns a sentence for each idle node that leaves models to cards that need much less energy."""
    return [f"node {node.name} {left_to_others(node.leaves)}" for node in nodes if node.leaves]


def node_facts(node: NodeView) -> NodeFacts:
    """Returns what explanations say of a node."""
    return NodeFacts(
        name=node.name,
        state=NodeState(node.state),
        reason=node.reason,
        in_service=in_service(node),
        by_owner=node.decided_by == "owner",
    )
