"""The ledger under test, once on SQLite and once on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from coordinator.ledger import open_engine
from coordinator.ledger.engine import transaction
from coordinator.ledger.revisions import upgrade
from tests.contract.ledger.bench import Bench
from tests.postgres import running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Socket folder of one cluster for all tests of this worker, with the newest schema in `template`."""
    with running_postgres() as folder:
        # It analyses tables in mid-test, and plans for a handful of rows say nothing of many.
        _maintain(folder, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        _maintain(folder, "CREATE DATABASE template")
        engine = open_engine(f"postgresql://farm@/template?host={folder}")
        _at_newest_schema(engine)
        engine.dispose()
        yield folder


def _maintain(folder: str, *statements: str) -> None:
    url = f"postgresql+psycopg://farm@/postgres?host={folder}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _at_newest_schema(engine: Engine) -> None:
    with transaction(engine, writes=True) as connection:
        upgrade(connection)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without rows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    folder = request.getfixturevalue("postgres")
    _maintain(folder, "DROP DATABASE IF EXISTS ledger", "CREATE DATABASE ledger TEMPLATE template")
    return f"postgresql://farm@/ledger?host={folder}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    _at_newest_schema(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)
