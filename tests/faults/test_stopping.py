"""Every part is told to stop in mid-job, by SIGTERM or Ctrl-C: it ends in order and loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.parts import NODE, Parts, farm_of_parts
from tests.faults.target import TIMING
from tests.faults.trial import Trial, farm_at_work
from tests.servers import running_valkey

pytestmark = pytest.mark.slow

_COORDINATOR = "first"
_IN_ORDER = {"finished", "released"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """A farm of processes that nobody supervises."""
    # So long a lease that none expires while the machine is busy: what ends a batch is the signal.
    timing = TIMING.model_copy(update={"lease_s": 120.0})
    folder = tmp_path_factory.mktemp("parts")
    with (
        running_valkey(folder / "valkey") as valkey,
        farm_of_parts(folder, valkey.url, timing=timing) as parts,
    ):
        parts.coordinator(_COORDINATOR)
        parts.until_it_answers(_COORDINATOR, 200)
        parts.workers()
        yield parts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("part", [_COORDINATOR, "ingest", NODE[0]])
def test_a_part_that_is_told_to_stop_ends_in_order_and_goes_on_when_started_again(
    parts: Parts, part: str, number: signal.Signals
) -> None:
    parts.until_it_answers(_COORDINATOR, 200)
    job = parts.submit(subject=f"{part} {number.name}")
    parts.batch_at_work()
    child = parts.started[part]
    assert child.pid is not None
    # As a terminal's Ctrl-C reaches the engine too.
    os.killpg(child.pid, number)
    parts.until(lambda: child.exit_status is not None)
    assert child.exit_status == 0, parts.logs()
    child.start()
    found = parts.judge()
    ended = {
        table: [row for row in found.tables[table] if row["job_id"] == job]
        for table in ("batches", "attempts")
    }
    assert {batch["outcome"] for batch in ended["batches"]} <= _IN_ORDER
    assert {attempt["state"] for attempt in ended["attempts"]} <= {"stored", "released"}


def test_a_farm_that_is_told_to_stop_hands_its_work_back_and_finishes_it_after_the_next_start(
    tmp_path: Path,
) -> None:
    with farm_at_work(tmp_path) as watch:
        trial, house = Trial(watch.target, watch), watch.target.house
        trial.begin()
        house.farm("down")
        assert house.processes() == []
        assert {batch["outcome"] for batch in trial.batches()} <= _IN_ORDER
        started = time.time()
        with house.start("up", "--foreground") as farm:
            trial.node_at_work(since=started)
            farm.send_signal(signal.SIGINT)
            assert farm.wait(60) == 0
        assert house.processes() == []
        assert {batch["outcome"] for batch in trial.batches()} <= _IN_ORDER
        house.farm("up")
        trial.judge()
