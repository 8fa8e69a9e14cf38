"""The fleet: reads nodes from the tables for the scheduler, and determines which may claim."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, exists, or_, select

from common.embeddings import encoding_versions
from common.lanes import Lanes, Viewer
from common.levels import Level
from common.nodes import is_own
from common.states import AttemptState, BatchState, NodeState
from coordinator.ledger.schema import attempts, batches, loads, nodes, plain, speeds, standings, verifications
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member, card_of


def is_known() -> ColumnElement[bool]:
    """Whether a node was not forgotten."""
    return nodes.c.state != plain(NodeState.FORGOTTEN)


def with_levels(*columns: Any) -> Select[Any]:
    """These columns of nodes, with the `level` of their owners; None for those who have none yet."""
    earned = nodes.outerjoin(standings, standings.c.owner == nodes.c.owner)
    return select(*columns, standings.c.level).select_from(earned)


def members(
    connection: Connection, lanes: Lanes, node_ids: Collection[str] | None = None
) -> dict[str, Member]:
    """These nodes, or all that ever joined, by ID."""
    rows = with_levels(nodes)
    if node_ids is not None:
        rows = rows.where(nodes.c.id.in_(node_ids))
    paces, loading = (_measured(connection, table, node_ids) for table in (speeds, loads))
    return {
        row.id: _member(row, lanes, paces.get(row.id, {}), loading.get(row.id, {}))
        for row in connection.execute(rows)
    }


def _measured(
    connection: Connection, table: Table, node_ids: Collection[str] | None
) -> dict[str, dict[str, float]]:
    """Node and model to the seconds in a table of measurements."""
    rows = select(table) if node_ids is None else select(table).where(table.c.node_id.in_(node_ids))
    known: dict[str, dict[str, float]] = {}
    for node_id, model, seconds in connection.execute(rows):
        known.setdefault(node_id, {})[model] = seconds
    return known


def served_lanes(row: Row[Any], lanes: Lanes) -> tuple[str, ...]:
    """Those lanes of a node's row whose prompts it may see; the row has the `level` of its owner."""
    return lanes.served(row.lanes, viewer_of(row))


def viewer_of(row: Row[Any]) -> Viewer:
    level = Level.OWNED if is_own(row.terms) else Level(row.level or Level.PROBATION)
    return Viewer(row.owner, level, row.sfw_only)


def _member(row: Row[Any], lanes: Lanes, paces: dict[str, float], loading: dict[str, float]) -> Member:
    return Member(
        id=row.id,
        state=NodeState(row.state),
        card=card_of(row.card),
        terms=row.terms,
        owner=row.owner,
        vram_class=row.vram_class,
        lanes=frozenset(served_lanes(row, lanes)),
        models=frozenset(row.models),
        loras=frozenset(row.loras),
        missing_recipes=row.missing_recipes,
        aside=row.aside,
        loaded=(row.loaded_model, frozenset(row.loaded_loras)),
        speeds=paces,
        loads=loading,
        fetch_s=row.fetch_s,
        versions=encoding_versions(row.versions),
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
    compared = exists().where(
        verifications.c.node_id == nodes.c.id,
        verifications.c.verdict.is_(None),
        verifications.c.asked_at > nodes.c.distrusted_at,
    )
    return select(nodes.c.id).where(nodes.c.state == NodeState.SELFTEST, or_(held, unjudged, compared))
