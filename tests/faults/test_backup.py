"""A ledger is restored from a backup that was made in mid-job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow


def test_a_job_is_finished_after_its_ledger_was_restored_and_no_image_is_overwritten(tmp_path: Path) -> None:
    with farm_at_work(tmp_path) as watch:
        trial, house = Trial(watch.target, watch), watch.target.house
        job = trial.submit(shots=48)
        house.wait_for(lambda: trial.fates()["done"], bool)
        house.farm("backup", "copy.sqlite")
        known = trial.fates()["done"]
        house.wait_for(lambda: trial.fates()["done"], lambda done: done > known + 2)
        assert "`farm down`" in house.farm("restore", "copy.sqlite", exit_code=1).stderr
        house.farm("down")
        after = trial.fates()["done"]
        house.farm("restore", "copy.sqlite")
        assert trial.fates()["done"] < after
        house.farm("up")
        trial.judge()
        assert trial.fates() == {"done": 48}
        assert house.json("pull", job, "pictures")["fetched"] == 48
