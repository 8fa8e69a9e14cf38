"""Trust: failures of a node lead to quarantine; a self-test, an operator or the end of an incident end it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, exists, select, update

from common.nodes import is_own
from common.states import BatchState, NodeEvent, NodeState
from common.trust import BAD, GOOD, doubt, noted
from coordinator.ledger.failure_policy import by_its_own_fault
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain
from coordinator.ledger.standings import barred_owners
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_node, set_each


def blame_node(write: Write, rules: Rules, node_id: str) -> None:
    """Record a failure that is the node's fault, unless the farm itself is disrupted."""
    if not rules.incident.lasts(write.now):
        record = noted(_row(write, node_id).record, BAD)
        write.connection.execute(update(nodes).where(nodes.c.id == node_id).values(record=record))
        doubt_node(write, rules, node_id)


class Good(NamedTuple):
    """A successfully rendered image."""

    shot_id: str
    node_id: str
    started_at: float
    #: Whether another node's image of the shot is awaited, to compare them.
    is_awaited: bool = False


def credit_nodes(write: Write, pictures: Sequence[Good]) -> None:
    """Record successful images; one rendered as a self-test restores the trust in its node.

    Not while it is compared with what another node renders.
    """
    rows = {row.id: row for row in _rows(write, {picture.node_id for picture in pictures})}
    records: dict[str, dict[str, str]] = {}
    for node_id, row in rows.items():
        mine = [picture for picture in pictures if picture.node_id == node_id]
        record = row.record
        for _ in mine:
            record = noted(record, GOOD)
        since = row.distrusted_at
        if since is not None and any(one.started_at > since and not one.is_awaited for one in mine):
            _trust(write, row)
        elif record != row.record:
            records[node_id] = {"record": record}
    set_each(write, nodes, records)


def blame_others(write: Write, rules: Rules, pictures: Sequence[Good]) -> None:
    """Attribute earlier failures of these shots to their nodes, because another node succeeded.

    Failures before a node was last trusted again do not count, nor does what volunteers of one owner alone
    rendered, who may have made it up.
    """
    well = {picture.shot_id: picture.node_id for picture in pictures}
    query = select(attempts.c.shot_id, attempts.c.node_id, attempts.c.started_at).where(
        attempts.c.shot_id.in_(well), by_its_own_fault()
    )
    for shot_id, other, started_at in write.connection.execute(query).all():
        if other != well[shot_id]:
            accused = _row(write, other)
            recent = accused.trusted_at is None or started_at > accused.trusted_at
            if recent and _is_sure(write, accused, _row(write, well[shot_id])):
                blame_node(write, rules, other)


def _is_sure(write: Write, accused: Row[Any], witness: Row[Any]) -> bool:
    """Whether a node is blamed because `witness` rendered what it could not; notes who said so first."""
    if is_own(witness.terms) or accused.contradicted_by not in (None, witness.owner):
        return True
    first = update(nodes).where(nodes.c.id == accused.id)
    write.connection.execute(first.values(contradicted_by=witness.owner))
    return False


def doubt_node(write: Write, rules: Rules, node_id: str) -> None:
    """Quarantine a node without a batch if it has too many failures or failed its self-test."""
    row = _row(write, node_id)
    doubts = None
    if row.state == NodeState.READY:
        doubts = doubt(row.record)
    elif row.state == NodeState.SELFTEST and BAD in row.record and not _holds_batch(write, node_id):
        doubts = "it failed its self-test"
    if doubts and not rules.incident.lasts(write.now):
        wait = f"{rules.timing.quarantine_s:.0f} s"
        quarantine(write, row, f"{doubts}; a self-test follows after {wait}", "farm")


def quarantine(write: Write, node: Row[Any], reason: str, decided_by: str) -> None:
    """Distrust a node without a batch until it passes a self-test; a paused node remains paused."""
    state = NodeState(node.state)
    values: dict[str, Any] = {"distrusted_at": write.now}
    if state is not NodeState.PAUSED:
        values |= {"reason": reason, "decided_by": decided_by}
    move_node(write, node.id, state, NodeEvent.DISTRUSTED, detail=reason, **values)


def begin_test(write: Write, node: Row[Any]) -> None:
    """Start the self-test of a distrusted node with one shot; clears its record."""
    move_node(
        write,
        node.id,
        NodeState(node.state),
        NodeEvent.TESTED,
        detail="its next image is its self-test",
        record="",
        decided_by=node.decided_by,
    )


def forgive(write: Write, node: Row[Any]) -> None:
    """Trust a node again and clear its record."""
    if node.distrusted_at is not None:
        _trust(write, node)
    else:
        clear = update(nodes).where(nodes.c.id == node.id)
        write.connection.execute(clear.values(record="", contradicted_by=None))


def due_for_test(write: Write, rules: Rules) -> Sequence[Row[Any]]:
    """Live nodes whose quarantine has lasted long enough."""
    due = (
        nodes.c.state == NodeState.QUARANTINED,
        nodes.c.distrusted_at <= write.now - rules.timing.quarantine_s,
        nodes.c.seen_at >= write.now - rules.timing.lease_s,
        nodes.c.owner.not_in(barred_owners()),
    )
    return write.connection.execute(select(nodes).where(*due)).all()


def blamed(write: Write, rules: Rules) -> Sequence[Row[Any]]:
    """Nodes that were quarantined automatically since the current incident began."""
    since = (
        nodes.c.state.in_((NodeState.QUARANTINED, NodeState.SELFTEST)),
        nodes.c.distrusted_at >= rules.incident.began,
        nodes.c.decided_by == "farm",
        nodes.c.owner.not_in(barred_owners()),
    )
    return write.connection.execute(select(nodes).where(*since)).all()


def _trust(write: Write, node: Row[Any]) -> None:
    state = NodeState(node.state)
    cleared: dict[str, Any] = {"record": "", "contradicted_by": None}
    cleared |= {"distrusted_at": None, "trusted_at": write.now}
    move_node(write, node.id, state, NodeEvent.TRUSTED, **cleared)
    if state is NodeState.SELFTEST and _holds_batch(write, node.id):
        move_node(
            write, node.id, NodeState.READY, NodeEvent.LEASED, detail="it did not complete its self-test"
        )


def _row(write: Write, node_id: str) -> Row[Any]:
    (row,) = _rows(write, {node_id})
    return row


def _rows(write: Write, node_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The record that determines the trust in a node."""
    named = ("id", "state", "owner", "terms", "record", "contradicted_by", "distrusted_at", "trusted_at")
    columns = (nodes.c[name] for name in named)
    return write.connection.execute(select(*columns).where(nodes.c.id.in_(node_ids))).all()


def _holds_batch(write: Write, node_id: str) -> bool:
    held = exists().where(batches.c.node_id == node_id, batches.c.state == plain(BatchState.LEASED))
    return bool(write.connection.scalar(select(held)))
