"""A long history without the years that it takes: rows of a ledger, doubled until they are enough."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Engine, Insert, String, Table, func, insert, literal, select

from coordinator.ledger.schema import attempts, events

_HOUR_S = 3600.0


def grow_history(engine: Engine, number: int) -> None:
    """Copy stored attempts and events until the ledger has so many attempts; its counters stay as they were.

    Copies are of the hours before, so that the last minutes hold no more than they would.
    """
    with engine.begin() as connection:
        there = connection.scalar(select(func.count()).select_from(attempts)) or 0
        assert there, "finish a batch first"
        round_ = 0
        while there < number:
            some, ago_s = min(there, number - there), _HOUR_S * 2**round_
            connection.execute(_copied(attempts, f"-{round_}", ago_s, some))
            connection.execute(_copied(events, f"-{round_}", ago_s, some))
            there, round_ = there + some, round_ + 1


def _copied(table: Table, mark: str, ago_s: float, number: int) -> Insert:
    """Insert copies of the first rows; an id that is a text is given a mark, others number themselves."""
    copied = [column for column in table.columns if column.name != "id" or isinstance(column.type, String)]

    def given(column: Column[Any]) -> ColumnElement[Any]:
        if column.name == "id":
            return column + literal(mark)
        return column - ago_s if column.name in ("at", "started_at", "settled_at") else column

    wanted = select(*map(given, copied)).limit(number)
    return insert(table).from_select([column.name for column in copied], wanted)
