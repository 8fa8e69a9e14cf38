"""Columns and indexes, as the schema and its revisions name them.

Nothing here may change: old revisions must go on to make the tables that they made.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Index, String, text
from sqlalchemy.types import TypeEngine


def primary(*names: str) -> tuple[Column[Any], ...]:
    """Text columns that are the primary key, or the first part of it."""
    return tuple(Column(name, String, primary_key=True) for name in names)


def must(name: str, kind: type[TypeEngine[Any]], default: str | None = None) -> Column[Any]:
    """A column that is never NULL."""
    return Column(name, kind, nullable=False, server_default=default)


def may(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    """A column that may be NULL."""
    return Column(name, kind)


def reference(name: str, target: str) -> Column[Any]:
    """A foreign key, given as in `jobs.id`."""
    return Column(name, String, ForeignKey(target), nullable=False)


def partial_index(name: str, *columns: str, where: str) -> Index:
    """A partial index of the rows that satisfy `where`."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
