"""Copies of a ledger in SQLite, to keep and to return to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from secrets import token_hex

from pydantic import BaseModel
from sqlalchemy import make_url

from common.errors import Conflict, Invalid

#: Files that SQLite keeps beside a database.
_BESIDE = ("-wal", "-shm")


class LedgerCopy(BaseModel, frozen=True):
    """What a copy holds."""

    jobs: int
    images: int
    #: Bytes of its file.
    size: int
    #: Where the ledger is kept whose place it took.
    kept: Path | None = None


def ledger_file(database: str) -> Path:
    """The file of an SQLite ledger. Raises Invalid for another kind of database."""
    url = make_url(database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise Invalid(
            f"the ledger is in {url.get_backend_name()}, not in SQLite: use the tools of that server, "
            "such as pg_dump and pg_restore"
        )
    return Path(url.database)


def back_up(ledger: Path, file: Path) -> LedgerCopy:
    """Write a consistent copy of a ledger, which may be in use, to a new file.

    It has all that was committed when it began; writers go on meanwhile. A copy of the file alone would lack
    what is still in the write-ahead log (https://www.sqlite.org/backup.html). Raises Invalid if there is no
    ledger, or `file` exists or cannot be written.
    """
    if not ledger.exists():
        raise Invalid(
            f"{file} is not written: there is no ledger {ledger} yet; choose its farm with --settings"
        )
    if file.exists():
        raise Invalid(f"{file} exists; choose another name")
    with _copied(ledger, file) as part:
        found = contents(part)
        try:
            # Unlike a rename, it replaces no file that came meanwhile.
            file.hardlink_to(part)
        except FileExistsError:
            raise Invalid(f"{file} exists; choose another name") from None
        except OSError:  # a file system without links, such as that of a memory stick
            part.rename(file)
    return found


def restore(file: Path, ledger: Path, now: datetime) -> LedgerCopy:
    """Put a copy in place of a ledger that nobody uses, which is kept beside it.

    Raises Invalid if `file` is not a whole copy of a ledger, Conflict if the ledger is in use.
    """
    found, kept = contents(file), ledger.with_name(f"{ledger.name}.{now:%Y%m%d-%H%M%S}")
    ledger.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_used(ledger)
    with _copied(file, ledger) as part:
        # A log belongs to its file and would spoil another one, also where a restore was cut off before.
        for suffix in (*_BESIDE, ""):
            with suppress(FileNotFoundError):
                ledger.with_name(ledger.name + suffix).rename(kept.with_name(kept.name + suffix))
        part.rename(ledger)
    return found.model_copy(update={"kept": kept if kept.exists() else None})


def contents(file: Path) -> LedgerCopy:
    """What a copy holds. Raises Invalid if it is missing, damaged, or not a ledger."""
    if not file.is_file():
        raise Invalid(f"{file}: no such file")
    try:
        with _opened(file) as copy:
            ((verdict,), *_) = copy.execute("PRAGMA integrity_check").fetchall()
            if verdict != "ok":
                raise Invalid(f"{file} is damaged ({verdict}); use another backup")
            jobs, images = (
                copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("jobs", "images")
            )
    except sqlite3.Error as error:
        raise Invalid(f"{file} is not a backup of a ledger ({error})") from None
    return LedgerCopy(jobs=jobs, images=images, size=file.stat().st_size)


def _refuse_used(ledger: Path) -> None:
    """Raises Conflict if another process has the ledger open: each holds a lock, also while it idles."""
    if not ledger.exists():
        return
    with closing(sqlite3.connect(ledger, timeout=0, isolation_level=None)) as alone:
        try:
            alone.execute("PRAGMA locking_mode = EXCLUSIVE")
            alone.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            # A damaged one is there to be replaced.
            if "locked" in str(error):
                raise Conflict(f"{ledger} is in use: stop its coordinator first") from None


@contextmanager
def _copied(ledger: Path, file: Path) -> Iterator[Path]:
    """A copy beside `file`, which only its owner may read; removed after the block if it is still there."""
    part = file.with_name(f".{file.name[:100]}.{token_hex(4)}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
        with _opened(ledger) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
            # One file without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        yield part
    except (sqlite3.Error, OSError) as error:
        raise Invalid(f"{file}: the copy could not be written ({error})") from None
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """For reading; SQLite needs write access to read a write-ahead log."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as connection:
        yield connection
