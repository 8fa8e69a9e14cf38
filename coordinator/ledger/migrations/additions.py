"""What a revision adds. Its downgrade removes the same, the last first, so nobody writes it.

A revision that also moves data writes `upgrade` and `downgrade` itself. Old revisions rely on what is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from alembic import op
from sqlalchemy import Column, text


class ReversibleStep(NamedTuple):
    add: Callable[[], object]
    remove: Callable[[], object]


def table(name: str, *columns: Column[Any]) -> ReversibleStep:
    return ReversibleStep(lambda: op.create_table(name, *columns), lambda: op.drop_table(name))


def column(table: str, column: Column[Any]) -> ReversibleStep:
    return ReversibleStep(lambda: op.add_column(table, column), lambda: op.drop_column(table, column.name))


def index(name: str, table: str, *columns: str, where: str | None = None) -> ReversibleStep:
    """An index of the rows that satisfy `where`; None: of all."""
    rows = None if where is None else text(where)
    return ReversibleStep(
        lambda: op.create_index(name, table, list(columns), sqlite_where=rows, postgresql_where=rows),
        lambda: op.drop_index(name, table),
    )


def additions(*steps: ReversibleStep) -> tuple[Callable[[], None], Callable[[], None]]:
    """`upgrade` and `downgrade` of a revision that makes these steps."""

    def upgrade() -> None:
        for step in steps:
            step.add()

    def downgrade() -> None:
        for step in reversed(steps):
            step.remove()

    return upgrade, downgrade
