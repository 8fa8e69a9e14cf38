"""A long history, backlog or fleet without the time that it takes: rows of a ledger, doubled until enough."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Insert,
    String,
    Table,
    case,
    func,
    insert,
    literal,
    select,
    text,
)

from coordinator.ledger.schema import attempts, events, nodes, shots, waiting, wants

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


def grow_backlog(engine: Engine, number: int) -> None:
    """Double the shots that wait until there are as many. Jobs keep their counts; start the coordinator."""
    _double(engine, number, shots, wants, waiting)


def grow_fleet(engine: Engine, number: int) -> None:
    """Double the nodes until there are as many; start the coordinator."""
    _double(engine, number, nodes)


def _double(engine: Engine, number: int, *tables: Table) -> None:
    """The first table tells how many there are."""
    with engine.begin() as connection:
        there = connection.scalar(select(func.count()).select_from(tables[0])) or 0
        round_ = 0
        while there < number:
            for table in tables:
                connection.execute(_copied(table, f"-{there}", 0.0, there, round_=round_, further=there))
            there, round_ = 2 * there, round_ + 1
        if connection.dialect.name == "postgresql":
            # As its autovacuum does after a while.
            connection.execute(text("ANALYZE"))


def _copied(
    table: Table, mark: str, ago_s: float, number: int, *, round_: int = 0, further: int = 0
) -> Insert:
    """Insert copies of the first rows; an id that is a text is given a mark, others number themselves.

    A position comes so much `further`, with another shot.
    """
    copied = [column for column in table.columns if column.name != "id" or isinstance(column.type, String)]

    def given(column: Column[Any]) -> ColumnElement[Any]:
        if further and (column is shots.c.id or column.name == "shot_id"):
            return _other_digit(column, round_ + 1)
        if column.name == "id":
            return column + literal(mark)
        if column.name == "position":
            return column + further
        return column - ago_s if column.name in ("at", "started_at", "settled_at") else column

    wanted = select(*map(given, copied)).limit(number)
    return insert(table).from_select([column.name for column in copied], wanted)


def _other_digit(column: Column[Any], at: int) -> ColumnElement[Any]:
    """A hash that differs in one digit."""
    digit = case((func.substr(column, at, 1) == "0", "1"), else_="0")
    return func.substr(column, 1, at - 1).concat(digit).concat(func.substr(column, at + 1))
