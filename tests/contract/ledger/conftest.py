"""The ledger under test, once on SQLite and once on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from coordinator.ledger import open_engine
from tests.contract.ledger.bench import Bench
from tests.postgres import running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Socket folder of one cluster for all tests of this worker."""
    with running_postgres() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        return
    folder = request.getfixturevalue("postgres")
    maintenance = create_engine(
        f"postgresql+psycopg://farm@/postgres?host={folder}", isolation_level="AUTOCOMMIT"
    )
    with maintenance.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS ledger WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE ledger"))
    maintenance.dispose()
    yield f"postgresql://farm@/ledger?host={folder}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)
