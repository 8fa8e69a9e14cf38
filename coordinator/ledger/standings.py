"""Standings: what owners of volunteers' nodes have earned, one row each, kept in memory as well."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, select

from common.levels import Level, OwnerStanding, earned, level_of
from coordinator.ledger.database import columns_of, upsert
from coordinator.ledger.schema import nodes, standings
from coordinator.ledger.transactions import Write
from coordinator.scheduling.changes import StandingChanged

_FACTS = ("since", "images", "clean", "known", "barred", "level")


def standings_of(connection: Connection, owners: Collection[str] | None = None) -> dict[str, OwnerStanding]:
    """The standings of these owners, or of all, by owner; without those that have none yet."""
    query = select(standings) if owners is None else select(standings).where(standings.c.owner.in_(owners))
    rows = {row.owner: columns_of(row, *_FACTS) for row in connection.execute(query)}
    return {owner: OwnerStanding(**facts | {"level": Level(facts["level"])}) for owner, facts in rows.items()}


def recall_standings(write: Write) -> None:
    """Bring all standings into memory."""
    found = standings_of(write.connection).items()
    write.changes += [StandingChanged(owner, standing) for owner, standing in found]


def set_standing(write: Write, owner: str, standing: OwnerStanding) -> Level:
    """Record what an owner did; returns the level that it has earned by now, which opens and closes lanes."""
    before = level_of("volunteer", write.backlog.standings.get(owner))
    standing = replace(standing, level=earned(standing, write.now))
    facts = {name: getattr(standing, name) for name in _FACTS}
    upsert(write.connection, standings, {"owner": owner}, **facts | {"level": standing.level.value})
    write.changes.append(StandingChanged(owner, standing))
    if standing.level is not before:
        for node_id in write.connection.scalars(volunteers_of(owner)):
            write.touch(node_id)
    return standing.level


def known_standing(write: Write, owner: str) -> OwnerStanding:
    """The standing of an owner, a new one if it has none yet."""
    return standings_of(write.connection, [owner]).get(owner, OwnerStanding(since=write.now))


def volunteers_of(owner: str) -> Select[Any]:
    """IDs of the volunteers' nodes of an owner."""
    return select(nodes.c.id).where(nodes.c.owner == owner, nodes.c.terms == "volunteer")


def barred_owners() -> Select[Any]:
    """Owners of whose nodes the farm takes nothing."""
    return select(standings.c.owner).where(standings.c.barred != "")
