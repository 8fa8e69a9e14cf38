"""The fleet: reads nodes from the tables for the scheduler, and determines which may claim."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, or_, select

from common.states import AttemptState, BatchState, NodeState
from coordinator.ledger.schema import attempts, batches, nodes, plain, speeds
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member, card_of


def members(connection: Connection, node_ids: Collection[str] | None = None) -> dict[str, Member]:
    """These nodes, or all that ever joined, by ID."""
    rows, measured = select(nodes), select(speeds)
    if node_ids is not None:
        rows, measured = rows.where(nodes.c.id.in_(node_ids)), measured.where(speeds.c.node_id.in_(node_ids))
    known: dict[str, dict[str, float]] = {}
    for node_id, model, seconds in connection.execute(measured):
        known.setdefault(node_id, {})[model] = seconds
    return {row.id: _member(row, known.get(row.id, {})) for row in connection.execute(rows)}


def _member(row: Row[Any], measured: dict[str, float]) -> Member:
    return Member(
        id=row.id,
        state=NodeState(row.state),
        card=card_of(row.card),
        terms=row.terms,
        vram_class=row.vram_class,
        lanes=frozenset(row.lanes),
        models=frozenset(row.models),
        loras=frozenset(row.loras),
        missing_recipes=row.missing_recipes,
        aside=row.aside,
        loaded=(row.loaded_model, frozenset(row.loaded_loras)),
        speeds=measured,
    )


def may_claim(connection: Connection, node: Member) -> bool:
    """Whether a node is in service: ready, busy, or about to take the shot of its self-test."""
    if node.state is not NodeState.SELFTEST:
        return node.serves
    return node.id not in connection.scalars(_under_test()).all()


def in_service(connection: Connection, backlog: Backlog) -> Mapping[str, Member]:
    """All nodes in service, by ID."""
    if not backlog.tested:
        return backlog.serving
    held = set(connection.scalars(_under_test()))
    tested = {node_id: node for node_id, node in backlog.tested.items() if node_id not in held}
    return {**backlog.serving, **tested}


def _under_test() -> Select[str]:
    """Nodes that are rendering the shot of their self-test or wait for its verdict."""
    held = exists().where(batches.c.node_id == nodes.c.id, batches.c.state == plain(BatchState.LEASED))
    unjudged = exists().where(
        attempts.c.node_id == nodes.c.id,
        attempts.c.state == plain(AttemptState.DELIVERED),
        attempts.c.started_at > nodes.c.distrusted_at,
    )
    return select(nodes.c.id).where(nodes.c.state == NodeState.SELFTEST, or_(held, unjudged))
