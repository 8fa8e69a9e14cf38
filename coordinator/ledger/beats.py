"""Heartbeats: a node lives, its lease is renewed, and it hears what to do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from common.messages import Beat, BeatAnswer
from common.states import AttemptState, BatchState, NodeState
from coordinator.ledger.batches import batch_row
from coordinator.ledger.charges import idle_charge, prefixed, spent_columns
from coordinator.ledger.endings import charge_late
from coordinator.ledger.fleet import card_of
from coordinator.ledger.moves import wanted
from coordinator.ledger.nodes import hear, node_row
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, shots
from coordinator.ledger.transactions import Write


def answer_beat(write: Write, rules: Rules, node_id: str, beat: Beat) -> BeatAnswer:
    """See `Ledger.beats`."""
    node = node_row(write.connection, node_id, beat.incarnation)
    batch = None if beat.batch_id is None else batch_row(write.connection, beat.batch_id, beat.token or "")
    state = hear(write, node, **_told(node, beat, rules))
    if batch is not None and batch.state != BatchState.LEASED:
        charge_late(write, rules, batch.id, beat.spent)
        return BeatAnswer(order="stop", reason=f"batch {batch.id} is over: {batch.outcome}")
    cancelled: tuple[str, ...] = ()
    if batch is not None:
        _renew(write, rules, batch, beat)
        cancelled = _unwanted(write, batch.id)
    if state in (NodeState.READY, NodeState.BUSY):
        return BeatAnswer(order="go on", cancelled=cancelled)
    return BeatAnswer(order="drain", reason=node.reason, cancelled=cancelled)


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
    idle = idle_charge(seconds, joules, card_of(node.card), node.terms, rules)
    return {
        "told_idle_s": node.told_idle_s + seconds,
        "told_idle_joules": node.told_idle_joules + joules,
        "idle_s": node.idle_s + seconds,
        **{name: getattr(node, name) + value for name, value in prefixed("idle_", idle).items()},
    }


def _renew(write: Write, rules: Rules, batch: Row[Any], beat: Beat) -> None:
    write.connection.execute(
        update(batches)
        .where(batches.c.id == batch.id)
        .values(expires_at=write.now + rules.timing.lease_s, **spent_columns(beat.spent))
    )


def _unwanted(write: Write, batch_id: str) -> tuple[str, ...]:
    """Shots in hand that no live job wants any more."""
    query = (
        select(shots.c.id)
        .select_from(attempts.join(shots))
        .where(attempts.c.batch_id == batch_id, attempts.c.state == AttemptState.RUNNING, ~wanted())
    )
    return tuple(write.connection.scalars(query))
