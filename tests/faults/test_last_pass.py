"""A farm that is told to stop in the middle of a pass that takes longer than most parts get to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow

_NODE = "node-8a"
#: A pass of 12 s: less than a node gets for its last one, and more than other parts get.
_STEPS = 250


def test_the_running_pass_of_a_node_is_finished_and_delivered(tmp_path: Path) -> None:
    with farm_at_work(tmp_path, nodes=(_NODE,)) as watch:
        trial, house = Trial(watch.target, watch), watch.target.house
        trial.submit(shots=4, steps=_STEPS)
        trial.until_leased(_NODE)
        assert "`farm down` again" in house.farm("down").stderr
        assert house.processes() == []
        ends = [batch["outcome"] for batch in trial.batches()]
        house.farm("up")
        found = trial.judge()
        assert set(ends) <= {"released", "finished"}
        assert all(attempt["state"] in {"stored", "released"} for attempt in found.tables["attempts"])
        assert sum(batch["lost_s"] for batch in found.tables["batches"]) == 0
