"""What the operator, or a node's owner, may ask of a node."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from common.errors import Conflict
from common.states import BatchEvent, NodeEvent, NodeState
from common.views import Who
from coordinator.ledger import trust
from coordinator.ledger.endings import end_held
from coordinator.ledger.moves import move_node
from coordinator.ledger.nodes import node_row
from coordinator.ledger.rules import Rules
from coordinator.ledger.transactions import Write

#: Whose wish it is, for people.
_NAMES: dict[str, str] = {"operator": "the operator", "owner": "its owner"}


def leave(write: Write, rules: Rules, node_id: str, incarnation: int) -> None:
    """See `Verbs.leave_node`. Whoever is paused or distrusted stays so till he joins again."""
    node_row(write.connection, node_id, incarnation)
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    if node_row(write.connection, node_id).state == NodeState.READY:
        ended = {"detail": "ended by its owner", "decided_by": "owner"}
        move_node(write, node_id, NodeState.READY, NodeEvent.LEFT, **ended)


def drain(write: Write, node_id: str, reason: str) -> None:
    """See `Verbs.drain_node`."""
    state = NodeState(node_row(write.connection, node_id).state)
    told = _told("drained", "operator", reason)
    move_node(write, node_id, state, NodeEvent.DRAINED, detail=told, decided_by="operator")


def pause(write: Write, rules: Rules, node_id: str, reason: str, who: Who) -> None:
    """See `Verbs.pause_node`."""
    node = node_row(write.connection, node_id)
    if node.state == NodeState.PAUSED and who == "operator":
        _must_be_theirs(node, who)
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    state = NodeState(node_row(write.connection, node_id).state)
    told = _told("paused", who, reason)
    move_node(write, node_id, state, NodeEvent.PAUSED, detail=told, reason=told, decided_by=who)


def resume(write: Write, rules: Rules, node_id: str, who: Who) -> None:
    """See `Verbs.resume_node`."""
    node = node_row(write.connection, node_id)
    if node.state == NodeState.OFFLINE and node.decided_by == "owner":
        raise Conflict(f"node {node_id} was {node.reason}: `farm-node run` there brings it back")
    if node.state == NodeState.PAUSED:
        _must_be_theirs(node, who)
    elif who == "owner":
        raise Conflict(f"node {node_id} is {node.state}, not paused: there is nothing to resume")
    if node.state == NodeState.PAUSED and node.distrusted_at is not None:
        trust.begin_test(write, node)
    else:
        move_node(write, node_id, NodeState(node.state), NodeEvent.RESUMED)
        trust.doubt_node(write, rules, node_id)


def quarantine(write: Write, rules: Rules, node_id: str, reason: str) -> None:
    """See `Verbs.quarantine_node`."""
    node_row(write.connection, node_id)
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    node = node_row(write.connection, node_id)
    trust.quarantine(write, node, _told("quarantined", "operator", reason), "operator")


def forgive(write: Write, node_id: str) -> None:
    """See `Verbs.forgive_node`."""
    trust.forgive(write, node_row(write.connection, node_id))


def _told(done: str, who: str, reason: str) -> str:
    return f"{done} by {_NAMES[who]}" + (f": {reason}" if reason else "")


def _must_be_theirs(node: Row[Any], who: Who) -> None:
    """A pause is ended by whom it came from."""
    if node.decided_by == who:
        return
    if who == "operator":
        raise Conflict(f"node {node.id} is {node.reason}; only its owner resumes it, by `farm-node resume`")
    raise Conflict(f"node {node.id} is {node.reason}; ask for `farm node resume {node.id}`")
