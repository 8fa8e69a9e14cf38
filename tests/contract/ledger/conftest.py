"""The ledger under test, once on SQLite and once on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from coordinator.ledger import open_engine
from tests.contract.ledger.bench import Bench
from tests.ledgers import at_newest_schema, newest_sqlite
from tests.postgres import running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Socket folder of one cluster for all tests of this worker, with the newest schema in `template`."""
    with running_postgres() as folder:
        # It analyses tables in mid-test, and plans for a handful of rows say nothing of many.
        _maintain(folder, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        _maintain(folder, "CREATE DATABASE template")
        at_newest_schema(f"postgresql://farm@/template?host={folder}")
        yield folder


def _maintain(folder: str, *statements: str) -> None:
    url = f"postgresql+psycopg://farm@/postgres?host={folder}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database without rows, at the newest schema; the same in every test of this worker."""
    if request.param == "sqlite":
        file = tmp_path_factory.getbasetemp() / "ledger.sqlite"
        for left in file.parent.glob(f"{file.name}*"):
            left.unlink()
        file.write_bytes(newest_sqlite())
        return f"sqlite:///{file}"
    folder = request.getfixturevalue("postgres")
    _maintain(
        folder, "DROP DATABASE IF EXISTS ledger WITH (FORCE)", "CREATE DATABASE ledger TEMPLATE template"
    )
    return f"postgresql://farm@/ledger?host={folder}"


@cache
def _engine(url: str) -> Engine:
    """One for all tests, since it keeps the statements it has compiled; connections are each test's own."""
    engine = open_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _never_sync)
    return engine


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = _engine(database_url)
    # The first connection came before the listener.
    engine.dispose()
    yield engine
    engine.dispose()


def _never_sync(connection: Any, _: object) -> None:
    """No test cuts the power, and a commit that waits for the disk takes most of a test's time."""
    connection.execute("PRAGMA synchronous = off")


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)
