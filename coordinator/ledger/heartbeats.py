"""Heartbeats and order calls: they renew leases and return the orders of a node."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from common.errors import Gone, NotFound
from common.messages import Heartbeat, HeartbeatAnswer, Listen
from common.states import NODE, AttemptState, BatchState, NodeEvent, NodeState
from coordinator.ledger.batches import must_match
from coordinator.ledger.charges import Charge, Charged, utc_month
from coordinator.ledger.costs import idle_charge, spent_columns
from coordinator.ledger.credible import most_joules, passed
from coordinator.ledger.endings import account_late
from coordinator.ledger.node_rows import LOADED, must_speak_for
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, jobs, nodes, shots
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_node, set_each, wanted

#: States in which a node is told to go on.
_WORKING = (NodeState.READY, NodeState.BUSY, NodeState.SELFTEST, NodeState.LOST)


def answer_heartbeats(
    write: Write, rules: Rules, beats: Sequence[tuple[str, Heartbeat]]
) -> list[HeartbeatAnswer | Gone | NotFound]:
    """See `Nodes.heartbeats`."""
    answers: dict[int, HeartbeatAnswer | Gone | NotFound] = {}
    rest = dict(enumerate(beats))
    while rest:
        # One beat per node at a time, because idle time is cumulative.
        first = {node_id: number for number, (node_id, _) in reversed(rest.items())}
        numbers = sorted(first.values())
        turn = _answer_turn(write, rules, [rest.pop(number) for number in numbers])
        answers |= dict(zip(numbers, turn, strict=True))
    return [answers[number] for number in range(len(beats))]


def _answer_turn(
    write: Write, rules: Rules, beats: Sequence[tuple[str, Heartbeat]]
) -> list[HeartbeatAnswer | Gone | NotFound]:
    """As `answer_heartbeats`, with at most one beat per node."""
    found = _callers(write.connection, beats)
    accepted = [
        (caller, beat) for caller, (_, beat) in zip(found, beats, strict=True) if isinstance(caller, _Caller)
    ]
    new_values = {caller.node.id: _node_columns(write, caller.node, beat, rules) for caller, beat in accepted}
    set_each(write, nodes, new_values)
    renewed = {}
    for caller, beat in accepted:
        if any(new_values[caller.node.id][name] != getattr(caller.node, name) for name in LOADED):
            write.touch(caller.node.id)
        if caller.node.state == NodeState.LOST:
            move_node(write, caller.node.id, NodeState.LOST, NodeEvent.HEARD)
        if caller.batch is not None and caller.holds:
            expires_at = write.now + rules.timing.lease_s
            renewed[caller.batch.id] = {"expires_at": expires_at, **spent_columns(beat.spent)}
        elif caller.batch is not None:
            account_late(write, rules, caller.batch.id, beat.spent)
    set_each(write, batches, renewed)
    unwanted = _unwanted(write.connection, [caller for caller, _ in accepted])
    return [_orders(caller, unwanted) if isinstance(caller, _Caller) else caller for caller in found]


def answer_listeners(
    connection: Connection, calls: Sequence[tuple[str, Listen]]
) -> list[HeartbeatAnswer | Gone | NotFound]:
    """See `Nodes.orders`."""
    found = _callers(connection, calls)
    unwanted = _unwanted(connection, [caller for caller in found if isinstance(caller, _Caller)])
    return [_orders(caller, unwanted) if isinstance(caller, _Caller) else caller for caller in found]


@dataclass(frozen=True, slots=True)
class _Caller:
    """A node that asks for orders."""

    node: Row[Any]
    #: The batch that it says it works on, with the `intent` of its job.
    batch: Row[Any] | None

    @property
    def holds(self) -> bool:
        return self.batch is not None and self.batch.state == BatchState.LEASED

    @property
    def state(self) -> NodeState:
        state = NodeState(self.node.state)
        return NODE.after(state, NodeEvent.HEARD) if state is NodeState.LOST else state


def _callers(
    connection: Connection, calls: Sequence[tuple[str, Heartbeat | Listen]]
) -> list[_Caller | Gone | NotFound]:
    """The caller of each call, or the error with which the call is rejected."""
    columns = ("id", "state", "reason", "incarnation", "decided_by", "joined_at", *LOADED, *_IDLE_COLUMNS)
    query = select(*(nodes.c[name] for name in columns))
    known = connection.execute(query.where(nodes.c.id.in_({node_id for node_id, _ in calls})))
    fleet = {row.id: row for row in known}
    named = {call.batch_id for _, call in calls if call.batch_id is not None}
    leases = {row.id: row for row in connection.execute(_leases(named))} if named else {}
    return [_caller(node_id, fleet.get(node_id), call, leases) for node_id, call in calls]


_IDLE_COLUMNS = (
    "told_idle_s",
    "told_idle_joules",
    "idle_s",
    "idle_joules",
    "idle_cost",
    "idle_electricity",
    "idle_volunteered",
)


def _leases(batch_ids: Set[str]) -> Select[Any]:
    columns = (batches.c[name] for name in ("id", "token", "state", "outcome", "trimmed", "beaten"))
    return select(*columns, jobs.c.intent).join_from(batches, jobs).where(batches.c.id.in_(batch_ids))


def _caller(
    node_id: str, node: Row[Any] | None, call: Heartbeat | Listen, leases: dict[str, Row[Any]]
) -> _Caller | Gone | NotFound:
    try:
        node = must_speak_for(node_id, node, call.incarnation)
        batch = None
        if call.batch_id is not None:
            batch = must_match(call.batch_id, leases.get(call.batch_id), call.token or "")
    except (Gone, NotFound) as error:
        return error
    return _Caller(node, batch)


def _orders(caller: _Caller, unwanted: dict[str, tuple[str, ...]]) -> HeartbeatAnswer:
    """The order for a node in this state about its batch."""
    batch = caller.batch
    if caller.state is NodeState.PAUSED:
        return HeartbeatAnswer(order="pause", reason=caller.node.reason)
    if batch is not None and not caller.holds:
        return HeartbeatAnswer(order="stop", reason=f"batch {batch.id} has ended: {batch.outcome}")
    cancelled = () if batch is None else unwanted.get(batch.id, ())
    if caller.state in _WORKING:
        return HeartbeatAnswer(order="go on", cancelled=cancelled)
    return HeartbeatAnswer(order="drain", reason=caller.node.reason, cancelled=cancelled)


def _node_columns(write: Write, node: Row[Any], beat: Heartbeat, rules: Rules) -> dict[str, Any]:
    return {
        "seen_at": write.now,
        "loaded_model": beat.loaded_model,
        "loaded_loras": list(beat.loaded_loras),
        "doing": beat.doing,
        "watts": beat.watts,
        "temperature_c": beat.temperature_c,
        **_idle(write, node, beat, rules),
    }


def _idle(write: Write, node: Row[Any], beat: Heartbeat, rules: Rules) -> dict[str, Any]:
    """Idle time since the last heartbeat; a delayed older heartbeat adds nothing.

    It is believed as far as the node has been there since it joined.
    """
    idle_s = min(beat.idle_s, passed(node.joined_at, write.now))
    member = write.backlog.known(node.id)
    seconds = max(0.0, idle_s - node.told_idle_s)
    told_joules = max(0.0, beat.idle_joules - node.told_idle_joules)
    joules = min(told_joules, most_joules(member.card, seconds))
    new_values = {name: getattr(node, name) for name in _IDLE_COLUMNS}
    new_values["told_idle_s"] += seconds
    new_values["told_idle_joules"] += joules
    if node.state == NodeState.PAUSED and node.decided_by == "owner":
        # While a node is paused, its time is not idle time of the farm.
        return new_values
    new_values["idle_s"] += seconds
    if not seconds and not joules:
        return new_values
    charge = idle_charge(seconds, joules, member, rules, write.now)
    for name, value in charge.items():
        new_values[f"idle_{name}"] += value
    idle = Charged(utc_month(write.now), "", node.id, "", "", member.vram_class, "idle")
    write.sums.charges.add(idle, Charge.of(seconds, charge))
    return new_values


def _unwanted(connection: Connection, callers: Sequence[_Caller]) -> dict[str, tuple[str, ...]]:
    """Shots by batch that its node should not render, in rendering order.

    No live job wants them, or they were taken back, or another node delivered them.
    """
    held = [caller.batch for caller in callers if caller.batch is not None and caller.holds]
    cancelled = [batch.id for batch in held if batch.intent == "cancelled"]
    trimmed = [batch.id for batch in held if batch.trimmed or batch.beaten]
    if not cancelled and not trimmed:
        # An active job of a batch wants all of its shots.
        return {}
    state, batch_id = attempts.c.state, attempts.c.batch_id
    query = (
        select(batch_id, shots.c.id)
        .select_from(attempts.join(shots))
        .where(
            batch_id.in_(cancelled) & (state == AttemptState.RUNNING) & ~wanted()
            | batch_id.in_(trimmed) & (state == AttemptState.RELEASED)
        )
        .order_by(batch_id, attempts.c.place)
    )
    found: dict[str, tuple[str, ...]] = {}
    for batch_id, shot_id in connection.execute(query):
        found[batch_id] = (*found.get(batch_id, ()), shot_id)
    return found
