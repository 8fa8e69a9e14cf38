"""Opening the ledger's database: SQLite or PostgreSQL, at the newest schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from common.errors import Invalid, Unavailable

#: How long SQLite waits for another process (a backup, an older coordinator) to let go of the file.
_BUSY_S = 10
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


def open_engine(url: str) -> Engine:
    """A database at the newest schema, made if it is new.

    `url` is `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. Raises Invalid for another kind,
    Unavailable when it does not answer.
    """
    engine = _engine(url)
    try:
        with writing(engine).begin() as connection:
            migrate(connection)
    except DBAPIError as error:
        engine.dispose()
        raise unreachable(engine, error) from error
    return engine


def writing(engine: Engine) -> Engine:
    """The same database for transactions that will write: SQLite locks when they begin, not midway."""
    return engine.execution_options(writes=True)


def migrate(connection: Connection) -> None:
    """Bring the schema up to the newest revision."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def unreachable(engine: Engine, error: DBAPIError) -> Unavailable:
    place = engine.url.render_as_string(hide_password=True)
    return Unavailable(f"the ledger's database {place} does not answer: {error.orig}; see `database_url`")


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid(f"database_url {url!r} is no URL; write sqlite:///PATH or postgresql://…") from None
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise Invalid(
            f"database_url is for {parsed.get_backend_name()}; the ledger takes sqlite or postgresql"
        )
    engine = create_engine(parsed.set(drivername=driver), pool_pre_ping=driver != "sqlite")
    if driver == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes late and is never IMMEDIATE; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_S * 1000}",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
