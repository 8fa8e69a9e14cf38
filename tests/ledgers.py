"""Ledgers at the newest schema, migrated once for each test process: revisions take most of a short test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from coordinator.ledger import open_engine
from coordinator.ledger.database import transaction, upgrade


def at_newest_schema(url: str) -> None:
    """Migrate a database, also an empty one."""
    engine = open_engine(url)
    with transaction(engine, writes=True) as connection:
        upgrade(connection)
    engine.dispose()


@cache
def newest_sqlite() -> bytes:
    """A SQLite file without rows."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite"
        at_newest_schema(f"sqlite:///{file}")
        return file.read_bytes()


def furnish_ledger(url: str) -> None:
    """Write the file of a SQLite URL as all migrations leave it, unless it is there; other databases stay."""
    database = make_url(url)
    if database.get_backend_name() == "sqlite" and database.database:
        file = Path(database.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_bytes(newest_sqlite())
