"""The disk of a whole farm is full for a while: no part ends for good, all rules hold afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.faults.disk import fill, small_disk
from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow

#: SeaweedFS wants some hundred MB.
_DISK_BYTES = 600_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_farm_whose_disk_is_full_goes_on_once_there_is_room_and_starts_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "farm", _DISK_BYTES) as disk, farm_at_work(disk) as watch:
        trial, target = Trial(watch.target, watch), watch.target
        trial.begin()
        filling = fill(disk)
        supervisor, ingest = psutil.Process(target.tree()[0]), target.pid("ingest")
        assert target.kill("ingest")
        # The supervisor has to tell of this, and has no room to.
        target.house.wait_for(
            supervisor.children, lambda children: ingest not in [one.pid for one in children]
        )
        filling.unlink()
        trial.judge()
        target.house.farm("down")
        target.house.farm("up")
        assert target.house.wait_for(target.is_ready, bool)
