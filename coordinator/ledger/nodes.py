"""Nodes: joining, liveness, and operations of operators and owners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select, update

from common.catalog import Catalog
from common.errors import Conflict, Gone, NotFound
from common.fit import peak_limit
from common.messages import CardFacts, Holdings, Join, Measurements, NewHoldings
from common.nodes import Card
from common.states import NODE, BatchEvent, BatchState, NodeEvent, NodeState, ShotEvent, ShotState
from common.views import NodeView, SlowPathView, Who
from coordinator.ledger import trust
from coordinator.ledger.database import columns_of
from coordinator.ledger.endings import end_held
from coordinator.ledger.fleet import members
from coordinator.ledger.measurements import note_trials
from coordinator.ledger.records import JoinedNode
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain, shots
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_node, move_shots
from coordinator.ledger.trust import doubt_node
from coordinator.ledger.waiting import samples
from coordinator.scheduling.member import Member, card_of
from coordinator.scheduling.slow_path import SlowPath
from coordinator.scheduling.trials import plausible

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


def join_node(write: Write, rules: Rules, join: Join) -> JoinedNode:
    """See `Ledger.join`."""
    card = card_of(join.card.model_dump())
    facts = {
        "owner": join.owner,
        "process": join.process,
        "terms": join.terms,
        "card": join.card.model_dump(mode="json"),
        "vram_class": card.vram_class,
        "lanes": list(join.lanes),
        **_offered(join),
        "versions": join.versions,
        "doing": "",
        "loaded_model": None,
        "loaded_loras": [],
        "seen_at": write.now,
        "told_idle_s": 0.0,
        "told_idle_joules": 0.0,
    }
    before = write.connection.execute(select(nodes).where(nodes.c.id == join.name)).one_or_none()
    if before is None:
        incarnation = 1
        new = {"id": join.name, "state": NodeState.READY.value, "incarnation": incarnation}
        write.connection.execute(insert(nodes), [facts | new])
        write.touch(join.name)
    else:
        _must_own_name(before, join)
        incarnation = before.incarnation + 1
        _begin_again(write, rules, before, facts | {"incarnation": incarnation})
    _look_again(write, card, rules)
    return JoinedNode(
        node_id=join.name, incarnation=incarnation, vram_class=card.vram_class, lanes=join.lanes
    )


def _offered(offer: Holdings) -> dict[str, Any]:
    return {
        "models": list(offer.models),
        "loras": list(offer.loras),
        "missing_recipes": offer.missing_recipes,
        "aside": offer.aside,
        "fetches": list(offer.fetches),
        "fetch_s": offer.fetch_s,
    }


def hold(write: Write, node_id: str, holdings: NewHoldings) -> NodeState:
    """See `Ledger.hold`."""
    state = hear(write, node_row(write.connection, node_id, holdings.incarnation))
    record(write, node_id, **_offered(holdings))
    write.touch(node_id)
    # What it offers now may be what shots wait for.
    write.brings_nodes = True
    return state


def measure(write: Write, node_id: str, told: Measurements, catalog: Catalog) -> NodeState:
    """See `Ledger.measure`."""
    row = node_row(write.connection, node_id, told.incarnation)
    if row.terms != "volunteer" and row.distrusted_at is None:
        note_trials(write, node_id, list(plausible(told.paces, card_of(row.card), catalog)))
    return NodeState(row.state)


def _must_own_name(before: Row[Any], join: Join) -> None:
    """Only the last process keeps a name; two that rejoin in turn would end each other's batches forever."""
    if join.again and join.process != before.process:
        raise Conflict(f"another process has joined as {join.name}: give every node a unique name (--name)")


def _begin_again(write: Write, rules: Rules, before: Row[Any], facts: dict[str, Any]) -> None:
    end_held(write, rules, before.id, BatchEvent.VANISHED)
    node = node_row(write.connection, before.id)
    if node.state == NodeState.QUARANTINED:
        facts |= {"record": "", "decided_by": node.decided_by, "reason": node.reason}
    move_node(write, before.id, NodeState(node.state), NodeEvent.JOINED, **facts)
    write.touch(before.id)
    doubt_node(write, rules, before.id)


def _look_again(write: Write, card: Card, rules: Rules) -> None:
    """Let unschedulable shots wait again if this card can render them.

    For a shot that ran out of memory, the measured peak must fit as well as the predicted one.
    """
    stuck = shots.c.state == plain(ShotState.UNSCHEDULABLE)
    largest = select(func.max(attempts.c.peak_bytes)).where(attempts.c.shot_id == shots.c.id)
    measured = func.coalesce(largest.scalar_subquery(), 0)
    keys = write.connection.scalars(select(shots.c.work_key).where(stuck).distinct()).all()
    for key, work in samples(write.connection, keys).items():
        if not isinstance(rules.place(work.shot, card, write.backlog.seen(card, key, work)), str):
            enough = shots.c.min_class <= card.vram_class, measured < peak_limit(card)
            fitting = select(shots.c.id).where(stuck, shots.c.work_key == key, *enough)
            ids = write.connection.scalars(fitting).all()
            facts: dict[str, Any] = {"min_class": card.vram_class, "failure": "", "reason": ""}
            move_shots(write, ids, ShotState.UNSCHEDULABLE, ShotEvent.FITS, **facts)


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


def node_views(connection: Connection, slow: Mapping[str, Mapping[str, SlowPath]]) -> list[NodeView]:
    """All nodes that ever joined, sorted by name; `slow` has the slow paths by node and model."""
    held = batches.c.node_id == nodes.c.id, batches.c.state == plain(BatchState.LEASED)
    query = (
        select(nodes, batches.c.id.label("batch_id"))
        .select_from(nodes.outerjoin(batches, and_(*held)))
        .order_by(nodes.c.id)
    )
    known = members(connection)
    return [
        _view(row, known[row.id], slow_path_views(slow.get(row.id, {}))) for row in connection.execute(query)
    ]


def slow_path_views(slow: Mapping[str, SlowPath]) -> tuple[SlowPathView, ...]:
    """The slow paths of one node, by model."""
    return tuple(SlowPathView(model=model, **path._asdict()) for model, path in sorted(slow.items()))


def _view(row: Row[Any], member: Member, slow: tuple[SlowPathView, ...]) -> NodeView:
    # What the last heartbeat of a node that is gone said holds no more.
    gone = row.state in (NodeState.OFFLINE, NodeState.LOST)
    return NodeView(
        **columns_of(row, "id", "owner", "terms", "vram_class", "state", "reason", "decided_by", "batch_id"),
        **columns_of(row, "doing", "aside", "seen_at"),
        name=row.id,
        lanes=tuple(row.lanes),
        card=row.card["name"],
        facts=CardFacts(**row.card),
        speeds=member.speeds,
        loads=member.loads,
        versions=member.versions,
        slow_paths=slow,
        loaded_model=None if gone else row.loaded_model,
        fetches=tuple(row.fetches),
        models=tuple(row.models),
        watts=None if gone else row.watts,
        temperature_c=None if gone else row.temperature_c,
    )


#: Names of actors in messages.
_NAMES: dict[str, str] = {"operator": "the operator", "owner": "its owner"}


def leave(write: Write, rules: Rules, node_id: str, incarnation: int) -> None:
    """See `Ledger.leave_node`. A paused or distrusted node keeps its state until it rejoins."""
    node_row(write.connection, node_id, incarnation)
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    if node_row(write.connection, node_id).state == NodeState.READY:
        ended = {"detail": "stopped by its owner", "decided_by": "owner"}
        move_node(write, node_id, NodeState.READY, NodeEvent.LEFT, **ended)


def drain(write: Write, node_id: str, reason: str) -> None:
    """See `Ledger.drain_node`."""
    state = NodeState(node_row(write.connection, node_id).state)
    decision = _decision("drained", "operator", reason)
    move_node(write, node_id, state, NodeEvent.DRAINED, detail=decision, decided_by="operator")


def pause(write: Write, rules: Rules, node_id: str, reason: str, who: Who) -> None:
    """See `Ledger.pause_node`."""
    node = node_row(write.connection, node_id)
    if node.state == NodeState.PAUSED and who == "operator":
        _must_be_theirs(node, who)
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    state = NodeState(node_row(write.connection, node_id).state)
    decision = _decision("paused", who, reason)
    move_node(write, node_id, state, NodeEvent.PAUSED, detail=decision, reason=decision, decided_by=who)


def resume(write: Write, rules: Rules, node_id: str, who: Who) -> None:
    """See `Ledger.resume_node`."""
    node = node_row(write.connection, node_id)
    if node.state == NodeState.OFFLINE and node.decided_by == "owner":
        raise Conflict(f"node {node_id} was {node.reason}: restart it there with `farm-node run`")
    if node.state == NodeState.PAUSED:
        _must_be_theirs(node, who)
    elif who == "owner":
        raise Conflict(f"node {node_id} is {node.state}, not paused")
    if node.state == NodeState.PAUSED and node.distrusted_at is not None:
        trust.begin_test(write, node)
    else:
        move_node(write, node_id, NodeState(node.state), NodeEvent.RESUMED)
        trust.doubt_node(write, rules, node_id)


def quarantine(write: Write, rules: Rules, node_id: str, reason: str) -> None:
    """See `Ledger.quarantine_node`."""
    node_row(write.connection, node_id)
    end_held(write, rules, node_id, BatchEvent.RELEASED)
    node = node_row(write.connection, node_id)
    trust.quarantine(write, node, _decision("quarantined", "operator", reason), "operator")


def forgive(write: Write, node_id: str) -> None:
    """See `Ledger.forgive_node`."""
    trust.forgive(write, node_row(write.connection, node_id))


def _decision(done: str, who: str, reason: str) -> str:
    return f"{done} by {_NAMES[who]}" + (f": {reason}" if reason else "")


def _must_be_theirs(node: Row[Any], who: Who) -> None:
    """Raises Conflict if the pause was set by someone else."""
    if node.decided_by == who:
        return
    if who == "operator":
        raise Conflict(
            f"node {node.id} is {node.reason}; only its owner can resume it, with `farm-node resume`"
        )
    raise Conflict(f"node {node.id} is {node.reason}; ask the operator for `farm node resume {node.id}`")
