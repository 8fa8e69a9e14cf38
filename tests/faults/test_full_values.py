"""One fault at the durations of a real farm; all other tests run them at a fifth."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from common.settings import Timing
from tests.faults.lone_node import lone_node
from tests.faults.target import TIMING
from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow

_WAITS_AGAIN_S = 30


def test_a_killed_nodes_work_waits_again_within_30_seconds(tmp_path: Path) -> None:
    # But for the grace after a start, which does not count and is over when the job comes.
    timing = Timing(grace_s=TIMING.grace_s)
    with (
        farm_at_work(tmp_path, nodes=("node-24",), timing=timing) as watch,
        lone_node(watch.target, "doomed") as node,
    ):
        trial = Trial(watch.target, watch)
        threading.Event().wait(timing.grace_s)
        trial.submit()
        trial.until_leased("doomed")
        node.kill()
        killed_at = time.time()
        expired = trial.target.house.wait_for(
            lambda: [batch for batch in trial.batches() if batch["outcome"] == "expired"], bool
        )
        assert [batch["node_id"] for batch in expired] == ["doomed"]
        assert expired[0]["closed_at"] - killed_at <= _WAITS_AGAIN_S
        trial.judge()
