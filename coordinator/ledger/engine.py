"""Opening the ledger's database: SQLite or PostgreSQL, at the newest schema."""

from __future__ import annotations

from sqlalchemy import Engine


def open_engine(url: str) -> Engine:
    """A database at the newest schema, made if it is new. Raises Invalid or Unavailable."""
    raise NotImplementedError
