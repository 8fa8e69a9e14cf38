"""What the database does for each statement: which tables it walks whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from coordinator.ledger.schema import metadata

#: Index to its table.
_TABLES = {str(index.name): table.name for table in metadata.tables.values() for index in table.indexes}
#: Indexes that hold few rows by themselves: reading one whole is no walk through its table.
_PARTIAL = {
    str(index.name)
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
_EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN (FORMAT JSON) "}
_POSTGRESQL_SCANS = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan")
_SQLITE_SCAN = re.compile(r"SCAN (\w+?)(?:_\d+)?(?: USING (?:COVERING )?INDEX (\w+))?$")


@contextmanager
def walked_tables(engine: Engine) -> Iterator[list[tuple[str, str]]]:
    """Table and statement of every walk through a whole table, of all that is executed within the block."""
    walks: list[tuple[str, str]] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, __: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            beside = cursor.connection.cursor()
            if engine.dialect.name == "postgresql":
                # Few rows are read faster without an index, which says nothing of many.
                beside.execute("SET LOCAL enable_seqscan = off")
            first = parameters[0] if many else parameters
            beside.execute(_EXPLAIN[engine.dialect.name] + statement, first)
            walks.extend((table, statement) for table in _WALKED[engine.dialect.name](beside.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield walks
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def _walked_by_sqlite(rows: list[Any]) -> Iterator[str]:
    for *_, detail in rows:
        found = _SQLITE_SCAN.match(detail)
        if found and found[2] not in _PARTIAL:
            yield found[1]


def _walked_by_postgresql(rows: list[Any]) -> Iterator[str]:
    ((answer,),) = rows
    plans = [answer[0]["Plan"]]
    while plans:
        plan = plans.pop()
        plans += plan.get("Plans", [])
        narrowed = "Index Cond" in plan or plan.get("Index Name") in _PARTIAL
        if plan["Node Type"] in _POSTGRESQL_SCANS and not narrowed:
            # The index of a bitmap belongs to the table of the node above.
            yield plan.get("Relation Name") or _TABLES.get(plan["Index Name"], "")


_WALKED = {"sqlite": _walked_by_sqlite, "postgresql": _walked_by_postgresql}


@contextmanager
def counted_steps(engine: Engine) -> Iterator[Callable[[], int]]:
    """How many tens of instructions SQLite's virtual machine runs within the block.

    Unlike a plan it tells a prefix of an index from all of it (sqlite.org/c3ref/progress_handler.html).
    """
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def watch(connection: Any, *_: object) -> None:
        connection.set_progress_handler(step, 10)

    event.listen(engine, "checkout", watch)
    try:
        yield lambda: steps
    finally:
        event.remove(engine, "checkout", watch)
