"""What a defect left in a state that nothing leads out of is told of, and holds nothing else up."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Table, update

from common.celeryapp import Publisher
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from coordinator.background.sweep import Sweeper
from coordinator.ledger.schema import nodes, shots
from tests.contract.ledger.bench import TIMING, Bench, placed
from tests.servers import ValkeyServer

EXPIRED = TIMING.lease_s + 2 * TIMING.sweep_s


def _put(bench: Bench, table: Table, subject: str, state: str) -> None:
    """Do what only a defect does: set a state without its event."""
    with bench.engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == subject).values(state=state))


@pytest.fixture
def sweeper(bench: Bench, tmp_path: Path, valkey_server: ValkeyServer) -> Sweeper:
    store = DirectoryStore(tmp_path / "pictures", UrlSigner("secret", "http://farm.example"))
    return Sweeper(bench.ledger, Publisher(valkey_server.url), store, frozenset)


def test_a_batch_that_cannot_be_closed_keeps_no_other_from_expiring(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(4))
    broken, sound = bench.join("broken").lease(), bench.join("sound").lease()
    _put(bench, nodes, "broken", "quarantined")

    found = bench.let_pass(EXPIRED)

    assert [swept.expired for swept in found if swept.expired] == [(sound.batch_id,)]
    assert bench.node_state("sound") == "lost"
    ((name, subject, reason),) = found[-1].stuck
    assert (name, subject) == (f"batch {broken.batch_id}", "broken")
    assert "a node that is quarantined cannot be freed" in reason


def test_what_cannot_be_moved_stays_as_it_was_until_it_is_mended(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(4), max_cost=1.0).job_id
    lease = bench.join().lease()
    _put(bench, nodes, "node", "quarantined")
    before = bench.counts(job), bench.backlog_lines(), bench.open_job(job).reserved
    heard: list[str] = []
    bench.ledger.commits.on_work(lambda: heard.append("work"))
    bench.ledger.commits.on_orders(heard.extend)

    bench.let_pass(EXPIRED)

    assert (bench.counts(job), bench.backlog_lines(), bench.open_job(job).reserved) == before
    assert bench.transitions(lease.batch_id) == []
    assert heard == []
    _put(bench, nodes, "node", "busy")
    assert bench.ledger.sweep().expired == (lease.batch_id,)
    assert bench.counts(job) == {"waiting": 4}
    assert set(bench.backlog_lines().values()) == {4}
    assert heard == ["work", "node"]


def test_what_cannot_be_moved_is_logged_once_with_what_to_do(
    bench: Bench, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    bench.past_the_grace()
    bench.submit(placed(2))
    lease = bench.join().lease()
    _put(bench, nodes, "node", "quarantined")
    bench.let_pass(EXPIRED)

    sweeper.sweep()
    sweeper.sweep()

    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith(f"batch {lease.batch_id} cannot be processed")
    assert "a node that is quarantined cannot be freed" in line
    assert "`farm explain node`" in line


@pytest.mark.parametrize("broken", [0, 1])
def test_an_upload_that_cannot_be_settled_keeps_no_other_from_being_settled(
    bench: Bench, sweeper: Sweeper, caplog: pytest.LogCaptureFixture, broken: int
) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    for index in range(2):
        attempt = bench.deliver(lease, index).attempt_id
        assert attempt is not None
        for _ in range(3):
            bench.delivery(attempt)
    _put(bench, shots, lease.shots[broken].id, "running")
    bench.clock.now += TIMING.ingest_again_s + 1

    sweeper.sweep()
    sweeper.ask_again()

    states = [bench.shot_row(one.id).state for one in lease.shots]
    assert states[broken] == "running"
    assert states[1 - broken] == "waiting"
    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    stuck = lease.shots[broken]
    assert line.startswith(f"attempt {stuck.attempt_id} cannot be processed")
    assert f"`farm explain {stuck.id}`" in line
