"""The database below the ledger: its schema, its errors, and that state and event are one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, func, select

from common.errors import Conflict, Invalid, NotFound, Unavailable
from common.states import SHOT, ShotEvent, ShotState
from coordinator.ledger import open_engine
from coordinator.ledger.database import transaction
from coordinator.ledger.jobs import Jobs
from coordinator.ledger.schema import events, metadata, peaks, shots
from tests.contract.ledger.bench import TIMING, Bench, placed, work
from tests.postgres import running_postgres

_NOBODY = 65534


def test_migrations_make_the_schema_that_the_program_uses(engine: Engine) -> None:
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_a_database_again_changes_nothing(bench: Bench, database_url: str) -> None:
    job = bench.submit(placed(2))
    open_engine(database_url).dispose()

    assert bench.counts(job.job_id) == {"waiting": 2}


def test_a_database_of_another_kind_is_refused_with_what_to_write() -> None:
    with pytest.raises(Invalid, match="sqlite and postgresql"):
        open_engine("mysql://farm@localhost/ledger")
    with pytest.raises(Invalid, match="not a URL"):
        open_engine("ledger")


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="FARM_DATABASE_URL") as caught:
        open_engine(f"postgresql://farm:secret@/ledger?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_folder_in_place_of_the_sqlite_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not working"):
        open_engine(f"sqlite:///{tmp_path}")


@contextmanager
def closed_folder() -> Iterator[Path]:
    """A folder that this process may read only: root, who may all, is nobody for a while."""
    # Not pytest's own, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="closed-"))
    folder.chmod(0o555)
    user = os.geteuid()
    os.seteuid(user or _NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


@pytest.mark.parametrize("inside", ["ledger.sqlite", "new/ledger.sqlite"])
def test_a_folder_that_may_not_be_written_is_named_with_what_to_change(inside: str) -> None:
    with closed_folder() as folder:
        with pytest.raises(Unavailable, match="allow the user of the coordinator to write there") as caught:
            open_engine(f"sqlite:///{folder / inside}")
        assert str(folder) in str(caught.value)


def test_a_damaged_sqlite_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_text("no database at all " * 100)
    with pytest.raises(Unavailable, match=r"ledger\.sqlite, is not working .*`farm restore` a backup"):
        open_engine(f"sqlite:///{file}")


def test_a_wrong_password_is_told_without_any_password() -> None:
    with running_postgres(authentication="scram-sha-256", password="right") as folder:
        with pytest.raises(Unavailable, match="password authentication failed") as caught:
            open_engine(f"postgresql://farm:wrong@/postgres?host={folder}")
        open_engine(f"postgresql://farm:right@/postgres?host={folder}").dispose()
    assert "correct user and password in FARM_DATABASE_URL" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_look_sees_nothing_of_what_is_committed_meanwhile(bench: Bench) -> None:
    images = select(func.count()).select_from(shots)
    with transaction(bench.engine) as look:
        before = look.scalar(images)
        bench.submit(placed(1))
        assert look.scalar(images) == before


def test_a_caller_that_finds_every_connection_in_use_is_asked_to_come_again(tmp_path: Path) -> None:
    small = create_engine(f"sqlite:///{tmp_path / 'small'}", pool_size=1, max_overflow=0, pool_timeout=0)
    with transaction(small), pytest.raises(Unavailable, match="in use"), transaction(small):
        pass
    small.dispose()


@contextmanager
def disk_full_after(commits: int, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let so many commits succeed, and no other."""
    dialect = engine.dialect
    commit, done = dialect.do_commit, count()

    def soon_broken(connection: Any) -> None:
        if next(done) >= commits:
            raise dialect.loaded_dbapi.OperationalError("no space left on device")
        commit(connection)

    with monkeypatch.context() as broken:
        broken.setattr(dialect, "do_commit", soon_broken)
        yield


def test_a_submission_that_the_database_breaks_off_is_cancelled_once_it_works(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_and_first_chunk = disk_full_after(2, bench.engine, monkeypatch)
    with job_and_first_chunk, pytest.raises(Unavailable, match="free space"):
        bench.submit(placed(6000))
    (job,) = bench.jobs()
    assert job.intent == "active"

    bench.ledger.sweep()

    assert bench.ledger.jobs.view(job.id).intent == "cancelled"
    assert bench.counts(job.id) == {"cancelled": 5000}


def test_a_cancellation_that_the_database_breaks_off_is_ended_once_it_works(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.submit(placed(2)).job_id
    with disk_full_after(1, bench.engine, monkeypatch), pytest.raises(Unavailable):
        bench.ledger.jobs.cancel(job)
    assert bench.ledger.jobs.view(job).intent == "cancelled"
    assert bench.counts(job) == {"waiting": 2}

    bench.ledger.sweep()

    assert bench.counts(job) == {"cancelled": 2}


def test_the_event_log_replayed_gives_every_shots_state(bench: Bench) -> None:
    bench.submit(placed(12))
    node, other = bench.join(), bench.join("other")
    for kind in ("", "flat_image", "out_of_memory", "device_lost", "", "flat_image"):
        lease = (node if len(kind) % 2 else other).claim().lease
        if lease is None:
            continue
        if kind:
            bench.fail(lease, kind)
        else:
            bench.store(bench.deliver(lease).attempt_id)
        bench.close(lease)

    state = {row.id: ShotState.WAITING for row in bench.rows(shots)}
    for event in sorted(bench.rows(events), key=lambda row: row.id):
        if event.noun == "shot":
            assert event.source == state[event.subject]
            state[event.subject] = SHOT.after(state[event.subject], ShotEvent(event.event))
    assert state == {row.id: row.state for row in bench.rows(shots)}


def test_a_failed_transaction_leaves_neither_state_nor_event(bench: Bench) -> None:
    _, lease = bench.leased()
    before = len(bench.rows(events))

    with pytest.raises(Invalid):
        bench.fail(lease, None)  # type: ignore[arg-type]

    assert len(bench.rows(events)) == before
    assert bench.shot_row(lease.shots[0].id).state == "running"


@contextmanager
def every_answer_lost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let commits happen, and nobody hear of it."""
    dialect = engine.dialect
    commit = dialect.do_commit

    def commit_and_break(connection: Any) -> None:
        commit(connection)
        raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(dialect, "do_commit", commit_and_break)
        yield


def test_what_waits_is_told_after_a_database_error_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench.submit(placed(4)).job_id
    bench.join()
    with every_answer_lost(bench.engine, monkeypatch), pytest.raises(Unavailable):
        bench.ledger.jobs.prioritise(job, 60)

    assert bench.ledger.backlog.waiting() == bench.ledger.accounts.totals().waiting == {("public", 8): 4}
    assert bench.ledger.backlog.ticket_demand() == {("public", 8): 1}
    assert "node takes this next" in " ".join(bench.ledger.explain(job, version="1").sentences)


def test_a_commit_whose_answer_is_lost_leaves_no_shot_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, lease = bench.leased(4)
    with every_answer_lost(bench.engine, monkeypatch), pytest.raises(Unavailable):
        bench.close(lease, "released")

    announced: list[str] = []
    bench.ledger.commits.on_work(lambda: announced.append("work"))
    with pytest.raises(NotFound):  # the first call that finds the database again
        bench.ledger.nodes.drain("nobody")
    assert announced
    assert sum(bench.backlog_lines().values()) == 4
    assert len(node.lease().shots) == 2


def test_a_disk_that_is_full_for_longer_than_a_lease_costs_no_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.past_the_grace()
    node, lease = bench.leased(2)
    node.beat(lease, spent=work(1.0))
    for _ in range(int(2 * TIMING.lease_s / TIMING.sweep_s)):
        bench.clock.now += TIMING.sweep_s
        with disk_full_after(0, bench.engine, monkeypatch), pytest.raises(Unavailable):
            bench.ledger.sweep()
    bench.clock.now += TIMING.sweep_s

    assert bench.ledger.sweep().expired == ()
    assert node.beat(lease).order == "go on"
    assert {row.crashes for row in bench.rows_of_shots()} == {0}


def test_what_was_measured_is_known_to_the_first_write_after_a_database_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, lease = bench.leased(4)
    bench.deliver(lease, 0, peak_bytes=8000)
    with every_answer_lost(bench.engine, monkeypatch), pytest.raises(Unavailable):
        bench.ledger.nodes.forgive(node.id)

    bench.deliver(lease, 1, peak_bytes=500)

    assert [row.bytes for row in bench.rows(peaks)] == [8000]


def test_a_submission_whose_beginning_was_committed_unheard_is_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with every_answer_lost(bench.engine, monkeypatch), pytest.raises(Unavailable):
        bench.submit(placed(2))
    bench.ledger.sweep()
    assert [job.intent for job in bench.jobs()] == ["cancelled"]


def test_a_submission_that_cannot_be_cancelled_keeps_no_lease_alive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.past_the_grace()
    _, lease = bench.leased(2)
    with disk_full_after(1, bench.engine, monkeypatch), pytest.raises(Unavailable):
        bench.submit(placed(1, first=9))

    def stuck(_: Jobs, job_id: str) -> None:
        raise Conflict("it cannot be moved")

    monkeypatch.setattr(Jobs, "cancel", stuck)
    found = []
    for _ in range(int(2 * TIMING.lease_s / TIMING.sweep_s)):
        bench.clock.now += TIMING.sweep_s
        found.append(bench.ledger.sweep())

    assert [batch for swept in found for batch in swept.expired] == [lease.batch_id]
    assert all("it cannot be moved" in swept.stuck[0].reason for swept in found)
