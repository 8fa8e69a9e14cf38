"""Trust: a node's own failures bring it into quarantine; a self-test, a pardon or an amnesty out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, exists, select, update

from common.states import BatchState, NodeEvent, NodeState
from common.trust import BAD, GOOD, doubt, noted
from coordinator.ledger.moves import move_node
from coordinator.ledger.retries import by_its_own_fault, failed
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain
from coordinator.ledger.transactions import Write


def charge_node(write: Write, rules: Rules, node_id: str) -> None:
    """Note a failure of the node's own, unless the farm itself is in trouble."""
    if not rules.incident.lasts(write.now):
        _note(write, node_id, BAD)
        doubt_node(write, rules, node_id)


def credit_node(write: Write, node_id: str, started_at: float) -> None:
    """Note a picture that came out well; one that was begun as a self-test wins the trust back."""
    _note(write, node_id, GOOD)
    row = _row(write, node_id)
    if row.distrusted_at is not None and started_at > row.distrusted_at:
        _trust(write, row)


def charge_others(write: Write, rules: Rules, shot_id: str, node_id: str) -> None:
    """Note the shot's own failures on other nodes as theirs: `node_id` has rendered it well.

    What failed before such a node was last trusted again is forgiven.
    """
    theirs = attempts.c.shot_id == shot_id, attempts.c.node_id != node_id, failed(), by_its_own_fault()
    query = select(attempts.c.node_id, attempts.c.started_at).where(*theirs)
    for other, started_at in write.connection.execute(query).all():
        trusted_at = _row(write, other).trusted_at
        if trusted_at is None or started_at > trusted_at:
            charge_node(write, rules, other)


def doubt_node(write: Write, rules: Rules, node_id: str) -> None:
    """Quarantine a node without a batch whose record is too bad, or that failed its self-test."""
    row = _row(write, node_id)
    doubts = None
    if row.state == NodeState.READY:
        doubts = doubt(row.record)
    elif row.state == NodeState.SELFTEST and BAD in row.record and not _holds_batch(write, node_id):
        doubts = "it failed its self-test"
    if doubts and not rules.incident.lasts(write.now):
        wait = f"{rules.timing.quarantine_s:.0f} s"
        quarantine(write, row, f"{doubts}, and is tested {wait} later", "farm")


def quarantine(write: Write, node: Row[Any], reason: str, decided_by: str) -> None:
    """Distrust a node without a batch until a self-test passes; a paused one stays paused till then."""
    state = NodeState(node.state)
    values: dict[str, Any] = {"distrusted_at": write.now}
    if state is not NodeState.PAUSED:
        values |= {"reason": reason, "decided_by": decided_by}
    move_node(write, node.id, state, NodeEvent.DISTRUSTED, detail=reason, **values)


def begin_test(write: Write, node: Row[Any]) -> None:
    """Let a distrusted node show by one shot that it works; its record begins anew."""
    move_node(
        write,
        node.id,
        NodeState(node.state),
        NodeEvent.TESTED,
        detail="its next picture is its self-test",
        record="",
        decided_by=node.decided_by,
    )


def forgive(write: Write, node: Row[Any]) -> None:
    """Trust a node again, with a clean record."""
    if node.distrusted_at is not None:
        _trust(write, node)
    else:
        write.connection.execute(update(nodes).where(nodes.c.id == node.id).values(record=""))


def due_for_test(write: Write, rules: Rules) -> Sequence[Row[Any]]:
    """Nodes that were quarantined for long enough and that live."""
    due = (
        nodes.c.state == NodeState.QUARANTINED,
        nodes.c.distrusted_at <= write.now - rules.timing.quarantine_s,
        nodes.c.seen_at >= write.now - rules.timing.lease_s,
    )
    return write.connection.execute(select(nodes).where(*due)).all()


def blamed(write: Write, rules: Rules) -> Sequence[Row[Any]]:
    """Nodes that the farm quarantined since the present incident of its own began."""
    since = (
        nodes.c.state.in_((NodeState.QUARANTINED, NodeState.SELFTEST)),
        nodes.c.distrusted_at >= rules.incident.began,
        nodes.c.decided_by == "farm",
    )
    return write.connection.execute(select(nodes).where(*since)).all()


def _trust(write: Write, node: Row[Any]) -> None:
    state = NodeState(node.state)
    cleared: dict[str, Any] = {"record": "", "distrusted_at": None, "trusted_at": write.now}
    move_node(write, node.id, state, NodeEvent.TRUSTED, **cleared)
    if state is NodeState.SELFTEST and _holds_batch(write, node.id):
        move_node(write, node.id, NodeState.READY, NodeEvent.LEASED, detail="it still holds its self-test")


def _note(write: Write, node_id: str, outcome: str) -> None:
    record = noted(_row(write, node_id).record, outcome)
    write.connection.execute(update(nodes).where(nodes.c.id == node_id).values(record=record))


def _row(write: Write, node_id: str) -> Row[Any]:
    return write.connection.execute(select(nodes).where(nodes.c.id == node_id)).one()


def _holds_batch(write: Write, node_id: str) -> bool:
    held = exists().where(batches.c.node_id == node_id, batches.c.state == plain(BatchState.LEASED))
    return bool(write.connection.scalar(select(held)))
