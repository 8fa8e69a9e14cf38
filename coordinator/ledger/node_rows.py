"""Rows of nodes: who may speak for one, and what it tells when it calls."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from common.errors import Gone, NotFound
from common.states import NODE, NodeEvent, NodeState
from coordinator.ledger.schema import nodes
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_node

#: What a node has loaded, as its heartbeats report it.
LOADED = ("loaded_model", "loaded_loras")


def node_row(connection: Connection, node_id: str, incarnation: int | None = None) -> Row[Any]:
    """The row of a node. Raises NotFound, or Gone if the incarnation is not the current one."""
    row = connection.execute(select(nodes).where(nodes.c.id == node_id)).one_or_none()
    return must_speak_for(node_id, row, incarnation)


def must_speak_for(node_id: str, row: Row[Any] | None, incarnation: int | None) -> Row[Any]:
    """The row of a node. Raises as `node_row` does."""
    if row is None:
        raise NotFound(f"no node {node_id}; it must join first")
    if incarnation is not None and row.incarnation != incarnation:
        raise Gone(f"node {node_id} was restarted; this incarnation has ended")
    return row


def hear(write: Write, node: Row[Any], **facts: Any) -> NodeState:
    """A node calls, with readings that the caller has recorded; returns the state of the node."""
    state = NodeState(node.state)
    if state is NodeState.LOST:
        move_node(write, node.id, state, NodeEvent.HEARD)
        state = NODE.after(state, NodeEvent.HEARD)
    if any(facts.get(name, getattr(node, name)) != getattr(node, name) for name in LOADED):
        write.touch(node.id)
    return state


def record(write: Write, node_id: str, **facts: Any) -> None:
    """Record that a node called now, with its readings."""
    write.connection.execute(update(nodes).where(nodes.c.id == node_id).values(seen_at=write.now, **facts))
