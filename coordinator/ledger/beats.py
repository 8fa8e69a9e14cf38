"""Heartbeats and listeners: a node lives, its lease is renewed, and it hears what to do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from common.messages import Beat, BeatAnswer, Listen
from common.states import AttemptState, BatchState, NodeState
from coordinator.ledger.batches import batch_row
from coordinator.ledger.charges import idle_charge, prefixed, spent_columns
from coordinator.ledger.endings import charge_late
from coordinator.ledger.member import card_of
from coordinator.ledger.moves import wanted
from coordinator.ledger.nodes import hear, node_row
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, shots
from coordinator.ledger.transactions import Write

#: A node that is lost and speaks is found again by its next heartbeat.
_WORKING = (NodeState.READY, NodeState.BUSY, NodeState.SELFTEST, NodeState.LOST)


def answer_beat(write: Write, rules: Rules, node_id: str, beat: Beat) -> BeatAnswer:
    """See `Ledger.beats`."""
    node = node_row(write.connection, node_id, beat.incarnation)
    batch = None if beat.batch_id is None else batch_row(write.connection, beat.batch_id, beat.token or "")
    state = hear(write, node, **_told(node, beat, rules))
    if batch is not None and batch.state == BatchState.LEASED:
        _renew(write, rules, batch, beat)
    elif batch is not None:
        charge_late(write, rules, batch.id, beat.spent)
    return _orders(write.connection, state, node.reason, batch)


def answer_listener(connection: Connection, node_id: str, listen: Listen) -> BeatAnswer:
    """See `Ledger.orders`."""
    node = node_row(connection, node_id, listen.incarnation)
    batch = None if listen.batch_id is None else batch_row(connection, listen.batch_id, listen.token or "")
    return _orders(connection, NodeState(node.state), node.reason, batch)


def _orders(connection: Connection, state: NodeState, reason: str, batch: Row[Any] | None) -> BeatAnswer:
    """What a node in this state is to do with this batch of its own."""
    if state is NodeState.PAUSED:
        return BeatAnswer(order="pause", reason=reason)
    if batch is not None and batch.state != BatchState.LEASED:
        return BeatAnswer(order="stop", reason=f"batch {batch.id} is over: {batch.outcome}")
    cancelled = () if batch is None else _unwanted(connection, batch.id)
    if state in _WORKING:
        return BeatAnswer(order="go on", cancelled=cancelled)
    return BeatAnswer(order="drain", reason=reason, cancelled=cancelled)


def _told(node: Row[Any], beat: Beat, rules: Rules) -> dict[str, Any]:
    return {
        "loaded_model": beat.loaded_model,
        "loaded_loras": list(beat.loaded_loras),
        "watts": beat.watts,
        "temperature_c": beat.temperature_c,
        **_idle(node, beat, rules),
    }


def _idle(node: Row[Any], beat: Beat, rules: Rules) -> dict[str, Any]:
    """What the node was idle for since its last beat; an older one that comes late tells nothing new."""
    seconds = max(0.0, beat.idle_s - node.told_idle_s)
    joules = max(0.0, beat.idle_joules - node.told_idle_joules)
    told = {
        "told_idle_s": node.told_idle_s + seconds,
        "told_idle_joules": node.told_idle_joules + joules,
    }
    if node.state == NodeState.PAUSED and node.decided_by == "owner":
        # What its owner does with the card meanwhile is no idling of the farm's.
        return told
    idle = idle_charge(seconds, joules, card_of(node.card), node.terms, rules)
    return {
        **told,
        "idle_s": node.idle_s + seconds,
        **{name: getattr(node, name) + value for name, value in prefixed("idle_", idle).items()},
    }


def _renew(write: Write, rules: Rules, batch: Row[Any], beat: Beat) -> None:
    write.connection.execute(
        update(batches)
        .where(batches.c.id == batch.id)
        .values(expires_at=write.now + rules.timing.lease_s, **spent_columns(beat.spent))
    )


def _unwanted(connection: Connection, batch_id: str) -> tuple[str, ...]:
    """Shots in hand that no live job wants any more."""
    query = (
        select(shots.c.id)
        .select_from(attempts.join(shots))
        .where(attempts.c.batch_id == batch_id, attempts.c.state == AttemptState.RUNNING, ~wanted())
        .order_by(attempts.c.place)
    )
    return tuple(connection.scalars(query))
