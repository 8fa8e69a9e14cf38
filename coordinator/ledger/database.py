"""The ledger's database: SQLite or PostgreSQL, its transactions, and its troubles in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common.errors import Invalid, Unavailable

#: How long a transaction waits for another process (a backup, another coordinator) to let go of a lock.
_LOCK_S = 10
#: PostgreSQL ends a transaction that stands still for so long: a stopped coordinator holds nobody up.
_IDLE_S = 10
_CONNECT_S = 5
#: Of each connection to SQLite. It fills up over thousands of shots; the system caches the file anyway.
_CACHE_KIB = 2048
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_MIGRATIONS = Path(__file__).with_name("migrations")
#: What databases say of troubles that a person can end, and how.
_REMEDIES = {
    "disk is full": "make room on that disk; what was refused is asked for again",
    "no space left": "make room on the server's disk; what was refused is asked for again",
    "not a database": "no SQLite file, or a damaged one: restore a backup, or move it away to begin anew",
    "malformed": "the file is damaged: restore a backup, or move it away to begin anew",
    "readonly": "let the coordinator's user write the file and its folder",
    "unable to open": "let the coordinator's user write there, or set FARM_DATABASE_URL to another place",
    "locked": "another process holds it: a backup, or a coordinator that was stopped in mid-write",
    "password": "set FARM_DATABASE_URL to the right user and password",
}
_REMEDY = "see whether the server runs, and FARM_DATABASE_URL"


def open_engine(url: str) -> Engine:
    """A database that answers, with whatever schema it has; `leadership.Candidate` brings it to the newest.

    `url` is `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. Raises Invalid for another kind,
    Unavailable when it does not answer.
    """
    engine = _engine(_parsed(url))
    try:
        with transaction(engine):
            return engine
    except Unavailable:
        engine.dispose()
        raise


@contextmanager
def transaction(engine: Engine, *, writes: bool = False) -> Iterator[Connection]:
    """A transaction, committed when the block ends well.

    One that `writes` locks SQLite when it begins, not midway; all statements of any other see the database as
    it was at the first. Raises Unavailable for what the database, and no statement, is to blame for.
    """
    options: dict[str, Any] = {"writes": writes}
    if not writes and engine.dialect.name == "postgresql":
        # SQLite gives nothing less.
        options["isolation_level"] = "REPEATABLE READ"
    try:
        with engine.execution_options(**options).begin() as connection:
            yield connection
    except PoolTimeout as error:
        raise Unavailable(
            "all connections to the ledger's database are in use; what was refused is asked for again"
        ) from error
    except DBAPIError as error:
        # SQLite has no class of its own for a file that is none.
        if (
            isinstance(error, OperationalError | InterfaceError | InternalError)
            or type(error) is DatabaseError
        ):
            raise _trouble(engine.url, error) from error
        raise


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose key is not there yet."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Table, key: dict[str, Any], **values: Any) -> None:
    """Insert a row, or set `values` where its key is there."""
    upsert_all(connection, table, list(key), [{**key, **values}])


def upsert_all(connection: Connection, table: Table, key: Sequence[str], rows: list[dict[str, Any]]) -> None:
    """Insert rows of the same columns, or set those beside the `key` where that is there."""
    if rows:
        row = _insert(connection, table)
        values = {column: row.excluded[column] for column in rows[0] if column not in key}
        connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=values), rows)


def add_to(
    connection: Connection, table: Table, key: Sequence[str], column: str, rows: list[dict[str, Any]]
) -> None:
    """Add what the rows have in `column` to the rows of the same key, or begin with it."""
    if rows:
        row = _insert(connection, table)
        summed = {column: table.c[column] + row.excluded[column]}
        connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=summed), rows)


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _trouble(url: URL, error: DBAPIError) -> Unavailable:
    place = url.render_as_string(hide_password=True)
    said = str(error.orig).strip().partition("\n")[0]
    remedy = next((remedy for words, remedy in _REMEDIES.items() if words in said.lower()), _REMEDY)
    return Unavailable(f"the ledger's database {place} does not work ({said}): {remedy}")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid(f"database_url {url!r} is no URL; write sqlite:///PATH or postgresql://…") from None
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise Invalid(
            f"database_url is for {parsed.get_backend_name()}; the ledger takes sqlite or postgresql"
        )
    return parsed.set(drivername=driver)


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        # Without the second a network that is cut would be noticed after many minutes.
        given = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": _LOCK_S * 1000}
        engine = create_engine(url, pool_pre_ping=True, connect_args=given)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    if url.database:
        _make_folder(Path(url.database).parent)
    # Each connection keeps pages and statements of its own: the one that was used last is used again.
    engine = create_engine(url, pool_use_lifo=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"cannot make the folder {folder} for the ledger ({error.strerror}): "
            "let the coordinator's user write there, or set FARM_DATABASE_URL to another place"
        ) from error


def _prepare_postgresql(connection: Any, _record: object) -> None:
    connection.execute(f"SET lock_timeout = '{_LOCK_S}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_S}s'")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes late and is never IMMEDIATE; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={_LOCK_S * 1000}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{_CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@cache
def _scripts() -> ScriptDirectory:
    """The revisions that this program knows; whoever stands by asks for them at every look."""
    return ScriptDirectory(str(_MIGRATIONS))


def config(connection: Connection) -> Config:
    """Alembic's settings for the ledger in `connection`."""
    found = Config()
    found.set_main_option("script_location", str(_MIGRATIONS))
    found.attributes["connection"] = connection
    return found


def upgrade(connection: Connection) -> None:
    """Bring the schema up to the newest revision, from none at all too."""
    if _revision(connection) != _scripts().get_current_head():
        command.upgrade(config(connection), "head")


def refuse_newer(connection: Connection) -> None:
    """Raises Invalid when the schema is of a revision that this program does not know."""
    found = _revision(connection)
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        place = connection.engine.url.render_as_string(hide_password=True)
        raise Invalid(
            f"the ledger {place} was written by a newer shotfarm (schema {found}, this one knows up to "
            f"{_scripts().get_current_head()}): install that version, or restore the backup made before it"
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
