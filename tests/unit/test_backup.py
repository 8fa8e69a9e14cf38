"""Copies of a ledger: whole, of one moment, and never in the way."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from common.errors import Conflict, Invalid
from coordinator.ledger.backup import LedgerCopy, back_up, contents, ledger_file, restore

NOW = datetime(2026, 11, 30, 5, 20)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def writer(ledger: Path) -> Iterator[sqlite3.Connection]:
    """A coordinator that has the ledger open, and whose last image is in the log only."""
    with closing(sqlite3.connect(ledger)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE jobs (id TEXT)")
        writer.execute("CREATE TABLE images (shot_id TEXT)")
        writer.execute("INSERT INTO jobs VALUES ('j-1')")
        writer.commit()
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("INSERT INTO images VALUES ('first')")
        writer.commit()
        yield writer


def images(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as copy:
        return [shot for (shot,) in copy.execute("SELECT shot_id FROM images")]


def test_a_backup_has_what_is_in_the_log_and_nothing_that_is_not_committed(
    ledger: Path, writer: sqlite3.Connection, tmp_path: Path
) -> None:
    writer.execute("INSERT INTO images VALUES ('second')")
    made = back_up(ledger, tmp_path / "copy.sqlite")
    writer.commit()
    assert (made.jobs, made.images) == (1, 1)
    # One file, which only its owner may read; the ledger's file alone has less.
    assert sorted(file.name for file in tmp_path.glob("copy*")) == ["copy.sqlite"]
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o077 == 0
    alone = shutil.copy(ledger, tmp_path / "alone.sqlite")
    assert (images(tmp_path / "copy.sqlite"), images(alone)) == (["first"], [])
    assert images(ledger) == ["first", "second"]


def test_a_restored_ledger_is_the_copy_and_the_one_before_it_is_kept(
    ledger: Path, writer: sqlite3.Connection, tmp_path: Path
) -> None:
    back_up(ledger, tmp_path / "copy.sqlite")
    writer.execute("INSERT INTO images VALUES ('second')")
    writer.commit()
    log = shutil.copy(ledger.with_name(f"{ledger.name}-wal"), tmp_path / "log")
    with pytest.raises(Conflict, match="in use: stop its coordinator"):
        restore(tmp_path / "copy.sqlite", ledger, NOW)
    writer.close()
    found = restore(tmp_path / "copy.sqlite", ledger, NOW)
    assert (found.images, found.kept) == (1, tmp_path / "ledger.sqlite.20261130-052000")
    assert images(ledger) == ["first"]
    assert images(found.kept) == ["first", "second"]
    # The log of a restore that was cut off does not come back into another ledger.
    (tmp_path / "new").mkdir()
    shutil.copy(log, tmp_path / "new" / "ledger.sqlite-wal")
    # To a farm that has none yet.
    assert restore(tmp_path / "copy.sqlite", tmp_path / "new" / "ledger.sqlite", NOW).kept is None
    assert images(tmp_path / "new" / "ledger.sqlite") == ["first"]


def test_what_is_no_whole_copy_is_refused_and_changes_nothing(
    ledger: Path, writer: sqlite3.Connection, tmp_path: Path
) -> None:
    for number in range(500):
        writer.execute("INSERT INTO images VALUES (?)", (f"{number} " * 100,))
    writer.commit()
    copy = tmp_path / "copy.sqlite"
    back_up(ledger, copy)
    whole = copy.read_bytes()
    bad = tmp_path / "bad.sqlite"
    for data in (b"", b"a picture", whole[: len(whole) // 2], whole[:5000] + b"\xff" * 9000 + whole[14000:]):
        bad.write_bytes(data)
        with pytest.raises(Invalid, match=r"bad\.sqlite is (not a backup|damaged)"):
            restore(bad, ledger, NOW)
    with pytest.raises(Invalid, match="no such file"):
        restore(tmp_path / "none.sqlite", ledger, NOW)
    assert len(images(ledger)) == 501
    assert contents(copy).images == 501


def test_a_backup_overwrites_nothing_and_names_what_is_missing(
    ledger: Path, writer: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear all")
    with pytest.raises(Invalid, match="choose another name"):
        back_up(ledger, tmp_path / "letter.txt")
    with pytest.raises(Invalid, match=r"copy could not be written"):
        back_up(ledger, tmp_path / "nowhere" / "copy.sqlite")
    with pytest.raises(Invalid, match="there is no ledger"):
        back_up(tmp_path / "other.sqlite", tmp_path / "copy.sqlite")
    with pytest.raises(Invalid, match="pg_dump"):
        ledger_file("postgresql://farm:secret@db/farm")
    assert ledger_file(f"sqlite:///{ledger}") == ledger


def test_of_backups_at_once_to_one_file_one_is_whole_and_the_others_say_that_it_exists(
    ledger: Path, writer: sqlite3.Connection, tmp_path: Path
) -> None:
    copy, start = tmp_path / "copy.sqlite", threading.Barrier(4)

    def made() -> LedgerCopy | str:
        start.wait()
        try:
            return back_up(ledger, copy)
        except Invalid as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = [one.result() for one in [pool.submit(made) for _ in range(4)]]
    assert sum(isinstance(one, LedgerCopy) for one in answers) == 1
    assert all("exists" in one.lower() for one in answers if isinstance(one, str))
    assert contents(copy).images == 1
    assert list(tmp_path.glob(".*")) == []
