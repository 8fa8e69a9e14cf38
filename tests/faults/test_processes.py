"""Processes of a farm at work are killed with -9 or stopped; all rules hold afterwards."""

from __future__ import annotations

import signal
from collections import Counter
from operator import itemgetter
from pathlib import Path

import psutil
import pytest

from tests.faults.lone_node import engine_of, lone_node, state_of
from tests.faults.target import TIMING, Target, send
from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow


outcome = itemgetter("outcome")


def kill_all(target: Target) -> None:
    """`kill -9` of the supervisor and everything below it."""
    for pid in target.tree():
        send(pid, signal.SIGKILL)
    target.house.wait_for(target.house.processes, lambda processes: processes == [])


def test_a_killed_engine_costs_its_node_a_batch_and_its_shots_nothing(trial: Trial) -> None:
    node = trial.begin(steps=60)
    trial.until_leased(node)
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
    assert {"vanished", "expired"}.intersection(map(outcome, trial.judge().tables["batches"]))


@pytest.mark.parametrize("part", ["ingest", "coordinator", "valkey", "seaweedfs"])
def test_a_part_that_is_killed_is_started_again_and_nothing_is_lost(trial: Trial, part: str) -> None:
    trial.begin()
    killed = trial.target.pid(part)
    assert killed is not None
    assert send(killed, signal.SIGKILL)
    trial.judge()
    trial.target.house.wait_for(lambda: trial.target.pid(part), lambda pid: pid not in (None, killed))


def test_after_all_is_killed_the_next_start_renders_nothing_twice_that_was_stored(trial: Trial) -> None:
    trial.begin()
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
        trial.target.house.wait_for(trial.batches, lambda batches: "expired" in map(outcome, batches))
    finally:
        send(pid, signal.SIGCONT)
    trial.judge()
    trial.target.house.wait_for(lambda: state_of(trial.target, node), lambda state: state == "ready")
    assert psutil.pid_exists(pid)


def test_a_pass_whose_engine_stands_still_is_rendered_by_the_other_node(tmp_path: Path) -> None:
    # The node must not end its engine before. A pass must be a small part of the job.
    timing = TIMING.model_copy(update={"stall_render_s": 600.0})
    with farm_at_work(tmp_path, timing=timing) as watch:
        trial = Trial(watch.target, watch)
        slow = trial.begin(shots=200)
        trial.until_leased(slow)
        engine = trial.target.engine(slow)
        assert engine is not None
        assert send(engine, signal.SIGSTOP)
        try:
            (first,) = trial.target.house.wait_for(
                lambda: [batch for batch in trial.batches() if batch["beaten"]], bool
            )
        finally:
            send(engine, signal.SIGCONT)
        found = trial.judge()
    batches = {batch["id"]: batch for batch in found.tables["batches"]}
    copies = [batch for batch in batches.values() if batch["duplicates"] == first["id"]]
    assert {copy["outcome"] for copy in copies} == {"finished"}
    assert slow == first["node_id"] not in {copy["node_id"] for copy in copies}
    assert batches[first["id"]]["lost_cost"] > 0


def test_an_engine_whose_node_is_killed_ends_by_itself(trial: Trial) -> None:
    with lone_node(trial.target, "orphaning") as node:
        trial.submit(shots=40)
        trial.until_leased("orphaning")
        engine = engine_of(node)
        trial.felling("orphaning", "kill -9")
        node.kill()
        gone, _ = psutil.wait_procs([engine], timeout=60)
        assert gone == [engine]
    trial.judge()


def test_a_node_started_again_gets_its_old_lease_closed_and_works_on(tmp_path: Path) -> None:
    # So long a lease that nothing else closes it.
    timing = TIMING.model_copy(update={"lease_s": 120.0})
    with farm_at_work(tmp_path, nodes=("node-24",), timing=timing) as watch:
        trial = Trial(watch.target, watch)
        with lone_node(trial.target, "reborn") as node:
            trial.submit(shots=40)
            trial.until_leased("reborn")
            node.kill()
        with lone_node(trial.target, "reborn"):
            found = trial.judge()
    of_reborn = [batch for batch in found.tables["batches"] if batch["node_id"] == "reborn"]
    outcomes = Counter(map(outcome, of_reborn))
    assert outcomes.pop("vanished") == 1
    assert set(outcomes) == {"finished"}
