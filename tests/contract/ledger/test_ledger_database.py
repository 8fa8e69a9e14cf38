"""The database below the ledger: its schema, its errors, and that state and event are one."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from common.errors import Invalid, Unavailable
from common.states import SHOT, ShotEvent, ShotState
from coordinator.ledger import open_engine
from coordinator.ledger.schema import events, metadata, shots
from tests.contract.ledger.bench import Bench, placed


def test_migrations_make_the_schema_that_the_program_uses(engine: Engine) -> None:
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_a_database_again_changes_nothing(bench: Bench, database_url: str) -> None:
    job = bench.submit(placed(2))
    open_engine(database_url).dispose()

    assert bench.counts(job.job_id) == {"waiting": 2}


def test_a_database_of_another_kind_is_refused_with_what_to_write() -> None:
    with pytest.raises(Invalid, match="sqlite or postgresql"):
        open_engine("mysql://farm@localhost/ledger")
    with pytest.raises(Invalid, match="no URL"):
        open_engine("ledger")


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="FARM_DATABASE_URL") as caught:
        open_engine(f"postgresql://farm:secret@/ledger?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_folder_in_place_of_the_sqlite_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not work"):
        open_engine(f"sqlite:///{tmp_path}")


def test_the_event_log_replayed_gives_every_shots_state(bench: Bench) -> None:
    bench.submit(placed(12))
    node, other = bench.join(), bench.join("other")
    for kind in ("", "blank_image", "out_of_memory", "device_lost", "", "blank_image"):
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
    bench.submit(placed(1))
    lease = bench.join().lease()
    before = len(bench.rows(events))

    with pytest.raises(Invalid):
        bench.fail(lease, None)  # type: ignore[arg-type]

    assert len(bench.rows(events)) == before
    assert bench.shot_row(lease.shots[0].id).state == "running"
