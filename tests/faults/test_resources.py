"""A node with a full disk and nodes with a wrong clock, among healthy ones; all rules hold afterwards."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from tests.faults.disk import fill, small_disk
from tests.faults.evidence import Evidence, Row
from tests.faults.lone_node import log_of, lone_node, state_of
from tests.faults.trial import Trial
from tests.require import require_program

pytestmark = pytest.mark.slow

_DISK_BYTES = 1_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_node_whose_disk_is_full_costs_its_shots_nothing_and_renders_once_there_is_room(
    trial: Trial, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", _DISK_BYTES) as disk, lone_node(trial.target, "full", home=disk):
        filling = fill(disk)
        # The other nodes may render all of a job before the slow one has failed often enough.
        while state_of(trial.target, "full") != "quarantined":
            trial.submit(shots=30)
            trial.target.house.wait_for(
                lambda: state_of(trial.target, "full") == "quarantined" or not trial.fates()["waiting"], bool
            )
        filling.unlink()
        room_at = time.time()
        with trial.target.client() as client:
            client.steer_node("full", "forgive")
        trial.submit(shots=24)
        found = trial.judge()
    failures = {(batch["node_id"], batch["failure"]) for batch in found.tables["batches"] if batch["failure"]}
    assert failures == {("full", "disk_full")}
    afterwards = [batch for batch in batches_of(found, "full") if batch["leased_at"] > room_at]
    assert {batch["outcome"] for batch in afterwards} == {"finished"}


def batches_of(found: Evidence, node: str) -> list[Row]:
    return [batch for batch in found.tables["batches"] if batch["node_id"] == node]


def with_clock(hours: int) -> tuple[str, ...]:
    """What a command is run through so that its clock is so many hours early; durations stay right."""
    require_program("faketime", "apt-get install faketime")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    wrong = {"LD_PRELOAD": library, "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": 1}
    # Not by the program of that name, which would stand between the node and its signals.
    return ("env", *(f"{name}={value}" for name, value in wrong.items()))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_node_whose_clock_is_wrong_works_like_any_other(trial: Trial, hours: int) -> None:
    name = f"{'late' if hours < 0 else 'early'}-clock"
    with lone_node(trial.target, name, through=with_clock(hours)):
        trial.submit(shots=40)
        trial.until_leased(name)
        found = trial.judge()
    assert time.strftime("%H:", time.localtime(time.time() + hours * 3600)) in clock_times(trial, name)
    assert {batch["outcome"] for batch in batches_of(found, name)} == {"finished"}


def clock_times(trial: Trial, node: str) -> set[str]:
    """The hours in the node's log."""
    return set(re.findall(r"^(\d\d:)\d\d:\d\d ", log_of(trial.target, node).read_text(), re.MULTILINE))
