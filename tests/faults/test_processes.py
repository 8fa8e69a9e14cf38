"""Processes of a farm at work are killed with -9 or stopped; all rules hold afterwards."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.faults.evidence import Evidence
from tests.faults.target import TIMING, Target, send
from tests.faults.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def outcomes(found: Evidence) -> list[str]:
    """How the batches ended."""
    return [batch["outcome"] for batch in found.tables["batches"]]


def kill_all(target: Target) -> None:
    """`kill -9` of the supervisor and everything below it."""
    for pid in target.tree():
        send(pid, signal.SIGKILL)
    target.house.wait_for(target.house.processes, lambda processes: processes == [])


def test_a_killed_engine_costs_its_node_a_batch_and_its_shots_nothing(trial: Trial) -> None:
    node = trial.begin()
    engine = trial.target.engine(node)
    assert engine is not None
    trial.felling(node, "kill -9 of its engine")
    assert send(engine, signal.SIGKILL)
    found = trial.judge()
    (died,) = [batch for batch in found.tables["batches"] if batch["outcome"] == "failed"]
    assert (died["node_id"], died["failure"]) == (node, "engine_died")


def test_a_killed_nodes_work_is_done_by_whoever_comes_next(trial: Trial) -> None:
    node = trial.begin()
    trial.felling(node, "kill -9")
    assert trial.target.kill(node)
    assert {"vanished", "expired"}.intersection(outcomes(trial.judge()))


@pytest.mark.parametrize("part", ["ingest", "coordinator", "valkey"])
def test_a_part_that_is_killed_is_started_again_and_nothing_is_lost(trial: Trial, part: str) -> None:
    trial.begin()
    assert trial.target.kill(part)
    trial.judge()


def test_after_all_is_killed_the_next_start_renders_nothing_twice_that_was_stored(trial: Trial) -> None:
    trial.begin(shots=24)
    kill_all(trial.target)
    stored = trial.stored()
    assert stored
    trial.target.house.farm("up")
    assert stored < {image["attempt_id"] for image in trial.judge().tables["images"]}


def test_a_node_stopped_past_its_lease_comes_back_and_changes_nothing(trial: Trial) -> None:
    node = trial.begin()
    pid = trial.target.pid(node)
    assert pid is not None
    trial.felling(node, "SIGSTOP")
    assert send(pid, signal.SIGSTOP)
    try:
        trial.target.house.wait_for(lambda: outcomes_so_far(trial), lambda ended: "expired" in ended)
    finally:
        send(pid, signal.SIGCONT)
    trial.judge()
    trial.target.house.wait_for(lambda: node_state(trial, node), lambda state: state == "ready")
    assert psutil.pid_exists(pid)


def outcomes_so_far(trial: Trial) -> list[str]:
    return [
        row["outcome"]
        for row in trial.target.rows("SELECT outcome FROM batches WHERE job_id = :job", job=trial.jobs[0])
    ]


def node_state(trial: Trial, node: str) -> str:
    (row,) = trial.target.rows("SELECT state FROM nodes WHERE id = :node", node=node)
    return str(row["state"])
