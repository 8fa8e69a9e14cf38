"""A ledger is restored from a backup that was made in mid-job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.evidence import gather
from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow


def test_jobs_are_finished_after_their_ledger_was_restored_and_no_image_is_overwritten(
    tmp_path: Path,
) -> None:
    with farm_at_work(tmp_path) as watch:
        trial, house = Trial(watch.target, watch), watch.target.house
        job = trial.submit(shots=24)
        house.wait_for(lambda: trial.fates()["done"], bool)
        house.farm("backup", "copy.sqlite")
        known = trial.fates()["done"]
        # However long the backup took, some images are stored that it does not know.
        unknown = trial.submit(shots=24, subject="later")
        house.wait_for(lambda: trial.fates()["done"], lambda done: done > known + 2)
        assert "`farm down`" in house.farm("restore", "copy.sqlite", exit_code=1).stderr
        house.farm("down")
        after = trial.fates()["done"]
        house.farm("restore", "copy.sqlite")
        assert trial.fates()["done"] < after
        house.farm("up")
        trial.jobs.remove(unknown)
        again = trial.submit(shots=24, subject="later")
        trial.settle()
        # Not by the common rules: the ledger names other attempts for images that it did not know.
        found = gather(watch.target, watch, [])
        assert not found.changed | found.gone
        assert trial.fates() == {"done": 48}
        assert [house.json("pull", one, one, "--no-sheet")["fetched"] for one in (job, again)] == [24, 24]
