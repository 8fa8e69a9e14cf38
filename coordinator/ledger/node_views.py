"""Views of nodes; read-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, and_, select

from common.lanes import Lanes
from common.levels import Level, OwnerStanding, level_of, told
from common.messages import CardFacts
from common.states import GONE, BatchState, NodeState
from common.views import NodeView, SlowPathView
from coordinator.ledger.database import columns_of
from coordinator.ledger.fleet import is_known, members
from coordinator.ledger.records import NodeReading
from coordinator.ledger.schema import batches, nodes, plain
from coordinator.ledger.standings import standings_of
from coordinator.scheduling.horizon import Horizon
from coordinator.scheduling.member import Member
from coordinator.scheduling.slow_path import SlowPath


def node_views(
    connection: Connection,
    lanes: Lanes,
    slow: Mapping[str, Mapping[str, SlowPath]],
    horizons: Mapping[str, Horizon],
    now: float,
) -> list[NodeView]:
    """All nodes that joined and were not forgotten, sorted by name.

    `slow` has the slow paths by node and model, `horizons` those of the lanes.
    """
    held = batches.c.node_id == nodes.c.id, batches.c.state == plain(BatchState.LEASED)
    query = (
        select(nodes, batches.c.id.label("batch_id"))
        .select_from(nodes.outerjoin(batches, and_(*held)))
        .where(is_known())
        .order_by(nodes.c.id)
    )
    known, earned = members(connection, lanes), standings_of(connection)

    @cache
    def left(lane: str, card_type: str) -> set[str]:
        return horizons[lane].left_by(card_type, now) if lane in horizons else set()

    views = [
        _view(row, known[row.id], slow_path_views(slow.get(row.id, {})), _leaves(known[row.id], left))
        for row in connection.execute(query)
    ]
    return [_with_level(view, earned.get(view.owner), now) for view in views]


def _with_level(view: NodeView, standing: OwnerStanding | None, now: float) -> NodeView:
    level = level_of(view.terms, standing)
    words = "" if level is Level.OWNED else told(level, standing, now)
    return view.model_copy(update={"level": level.value, "standing": words})


def _leaves(member: Member, left: Callable[[str, str], set[str]]) -> tuple[str, ...]:
    if member.state is not NodeState.READY:
        return ()
    models = {model for lane in member.lanes for model in left(lane, member.card.type)}
    return tuple(sorted(models & member.models))


def node_readings(connection: Connection, known: Mapping[str, Member]) -> list[NodeReading]:
    """Of these nodes, by ID, sorted by name."""
    columns = (nodes.c[name] for name in ("id", *NodeReading._fields[1:]))
    rows = connection.execute(select(*columns).where(is_known()).order_by(nodes.c.id))
    return [NodeReading(known[row[0]], *row[1:]) for row in rows if row[0] in known]


def slow_path_views(slow: Mapping[str, SlowPath]) -> tuple[SlowPathView, ...]:
    """The slow paths of one node, by model."""
    return tuple(SlowPathView(model=model, **path._asdict()) for model, path in sorted(slow.items()))


def _view(row: Row[Any], member: Member, slow: tuple[SlowPathView, ...], leaves: tuple[str, ...]) -> NodeView:
    gone = row.state in GONE
    return NodeView(
        **columns_of(row, "id", "owner", "terms", "vram_class", "state", "reason", "decided_by", "batch_id"),
        **columns_of(row, "doing", "aside", "seen_at", "sfw_only"),
        name=row.id,
        lanes=tuple(lane for lane in row.lanes if lane in member.lanes),
        card=row.card["name"],
        facts=CardFacts(**row.card),
        speeds=member.speeds,
        loads=member.loads,
        fetch_s=member.fetch_s,
        versions=member.versions,
        slow_paths=slow,
        leaves=leaves,
        loaded_model=None if gone else row.loaded_model,
        fetches=tuple(row.fetches),
        models=tuple(row.models),
        watts=None if gone else row.watts,
        temperature_c=None if gone else row.temperature_c,
    )
