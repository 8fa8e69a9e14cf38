"""Short ways to the columns and indexes that the tables have many of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Double, ForeignKey, Index, String, text
from sqlalchemy.types import TypeEngine


def must(name: str, kind: type[TypeEngine[Any]], default: str | None = None) -> Column[Any]:
    """A column that is never NULL."""
    return Column(name, kind, nullable=False, server_default=default)


def may(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    """A column that may be NULL."""
    return Column(name, kind)


def reference(name: str, target: str) -> Column[Any]:
    """A column that names a row of another table, as in `jobs.id`."""
    return Column(name, String, ForeignKey(target), nullable=False)


def money(prefix: str = "") -> tuple[Column[Any], ...]:
    """Energy and what it cost: the farm, and a volunteer."""
    return tuple(must(f"{prefix}{name}", Double, "0") for name in ("joules", "cost", "volunteered"))


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the few rows for which `where` holds."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
