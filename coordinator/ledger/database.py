"""The database of the ledger (SQLite or PostgreSQL): engine, transactions, and error messages."""

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
from sqlalchemy import Connection, Engine, Insert, Row, Table, create_engine, event, make_url
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

#: Seconds for which a transaction waits for a lock of another process, such as a backup.
_LOCK_S = 10
#: Seconds after which PostgreSQL ends an idle transaction, so that a suspended coordinator blocks nobody.
IDLE_S = 10
_CONNECT_S = 5
#: Page cache of each SQLite connection. It fills over thousands of shots; the system caches the file, too.
_CACHE_KIB = 2048
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_MIGRATIONS = Path(__file__).with_name("migrations")
#: Error messages of databases, with a remedy.
_REMEDIES = {
    "disk is full": "free space on that disk; rejected calls are retried",
    "no space left": "free space on the disk of the server; rejected calls are retried",
    "not a database": "no SQLite file, or damaged: `farm restore` a backup, or move it away to start empty",
    "malformed": "the file is damaged: `farm restore` a backup, or move it away to start empty",
    "readonly": "allow the user of the coordinator to write the file and its folder",
    "unable to open": "allow the user of the coordinator to write there, or change FARM_DATABASE_URL",
    "locked": "another process holds the lock: a backup, or a coordinator that was suspended while writing",
    "password": "correct user and password in FARM_DATABASE_URL",
}
_REMEDY = "check that the server is running and that FARM_DATABASE_URL is correct"


def open_engine(url: str) -> Engine:
    """Connects to a database with any schema; `leadership.Candidate` migrates it to the newest revision.

    `url` is `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. Raises Invalid for another kind of
    database, Unavailable if it does not respond.
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
    """A transaction, committed if the block ends without an exception.

    With `writes`, SQLite is locked at the start of the transaction; otherwise all statements see a consistent
    snapshot. Raises Unavailable for errors of the database that no statement caused.
    """
    options: dict[str, Any] = {"writes": writes}
    if not writes and engine.dialect.name == "postgresql":
        # SQLite always isolates at least this much.
        options["isolation_level"] = "REPEATABLE READ"
    try:
        with engine.execution_options(**options).begin() as connection:
            yield connection
    except PoolTimeout as error:
        raise Unavailable(
            "all connections to the database of the ledger are in use; rejected calls are retried"
        ) from error
    except DBAPIError as error:
        # SQLite has no exception class of its own for an invalid file.
        if (
            isinstance(error, OperationalError | InterfaceError | InternalError)
            or type(error) is DatabaseError
        ):
            raise _unavailable_database(engine.url, error) from error
        raise


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose key does not exist yet."""
    if rows:
        connection.execute(_inserting_new(connection.dialect.name, table), rows)


def upsert(connection: Connection, table: Table, key: dict[str, Any], **values: Any) -> None:
    """Insert a row, or set `values` if its key exists."""
    upsert_all(connection, table, list(key), [{**key, **values}])


def upsert_all(connection: Connection, table: Table, key: Sequence[str], rows: list[dict[str, Any]]) -> None:
    """Insert rows with the same columns, or update all columns except `key` if the key exists."""
    if rows:
        columns = tuple(column for column in rows[0] if column not in key)
        connection.execute(_upserting(connection.dialect.name, table, tuple(key), columns), rows)


def add_to(
    connection: Connection,
    table: Table,
    key: Sequence[str],
    columns: Sequence[str],
    rows: list[dict[str, Any]],
) -> None:
    """Add `columns` of each row to the existing row with the same key, or insert the row."""
    if rows:
        connection.execute(_adding(connection.dialect.name, table, tuple(key), tuple(columns)), rows)


# Kept: building one of these statements takes six times as long as executing it (0.09 ms, SQLite).


@cache
def _inserting_new(dialect: str, table: Table) -> Insert:
    return _insert(dialect, table).on_conflict_do_nothing()


@cache
def _upserting(dialect: str, table: Table, key: tuple[str, ...], columns: tuple[str, ...]) -> Insert:
    row = _insert(dialect, table)
    values = {column: row.excluded[column] for column in columns}
    return row.on_conflict_do_update(index_elements=key, set_=values)


@cache
def _adding(dialect: str, table: Table, key: tuple[str, ...], columns: tuple[str, ...]) -> Insert:
    row = _insert(dialect, table)
    summed = {column: table.c[column] + row.excluded[column] for column in columns}
    return row.on_conflict_do_update(index_elements=key, set_=summed)


def _insert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _unavailable_database(url: URL, error: DBAPIError) -> Unavailable:
    place = url.render_as_string(hide_password=True)
    reason = str(error.orig).strip().partition("\n")[0]
    remedy = next((remedy for words, remedy in _REMEDIES.items() if words in reason.lower()), _REMEDY)
    return Unavailable(f"the database of the ledger, {place}, is not working ({reason}): {remedy}")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid(f"database_url {url!r} is not a URL; write sqlite:///PATH or postgresql://…") from None
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise Invalid(
            f"database_url is for {parsed.get_backend_name()}; the ledger supports sqlite and postgresql"
        )
    return parsed.set(drivername=driver)


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        # Without the second setting, a network partition is detected only after many minutes.
        given = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": _LOCK_S * 1000}
        engine = create_engine(url, pool_pre_ping=True, connect_args=given)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    if url.database:
        _make_folder(Path(url.database).parent)
    # Each connection has its own caches, so the most recently used connection is reused first.
    engine = create_engine(url, pool_use_lifo=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"cannot create the folder {folder} for the ledger ({error.strerror}): "
            "allow the user of the coordinator to write there, or change FARM_DATABASE_URL"
        ) from error


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # Statements take milliseconds, and compiling one, which the server begins from an estimate, a hundred.
    settings = {
        "lock_timeout": f"{_LOCK_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_S}s",
        # Statements take milliseconds; to compile one takes a tenth of a second.
        "jit": "off",
    }
    connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN is delayed and never IMMEDIATE; `_begin_sqlite` issues it instead.
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
    """The schema revisions that this program knows; cached because a standby needs them at every check."""
    return ScriptDirectory(str(_MIGRATIONS))


def config(connection: Connection) -> Config:
    """Alembic configuration for the ledger in `connection`."""
    found = Config()
    found.set_main_option("script_location", str(_MIGRATIONS))
    found.attributes["connection"] = connection
    return found


def is_newest(connection: Connection) -> bool:
    """Whether the schema has the newest revision that this program knows."""
    return _revision(connection) == _scripts().get_current_head()


def upgrade(connection: Connection) -> None:
    """Migrate the schema to the newest revision, also from an empty database."""
    if not is_newest(connection):
        command.upgrade(config(connection), "head")


def refuse_newer(connection: Connection) -> None:
    """Raises Invalid if this program does not know the revision of the schema."""
    found = _revision(connection)
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        place = connection.engine.url.render_as_string(hide_password=True)
        raise Invalid(
            f"the ledger {place} was written by a newer shotfarm (schema {found}, this one supports up to "
            f"{_scripts().get_current_head()}): install that version, or restore the backup made before it"
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def columns_of(row: Row[Any], *columns: str) -> dict[str, Any]:
    """Columns of a row by name, for an object whose fields have their names."""
    return {column: row._mapping[column] for column in columns}
