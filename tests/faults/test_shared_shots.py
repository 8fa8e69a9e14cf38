"""Two jobs want the same shots, and one of them is cancelled, paused or out of money in the middle."""

from __future__ import annotations

import operator
import time
from pathlib import Path
from uuid import uuid4

import pytest

from common.views import JobView
from tests.faults.target import TIMING
from tests.faults.trial import Trial, farm_at_work

pytestmark = pytest.mark.slow

#: The first job wants these, the second the first half of them.
_SHOTS = 24
_MORE_THAN_ALL_NODES_TAKE_AT_ONCE = 160
#: A third job that has nothing to do with them.
_OTHERS = 4
#: So small that the estimate at submission is far below what the engine's pace will cost.
_SMALL = "64x64"
#: Of sums of money.
_ROUNDING = 1e-12


def submit_both(trial: Trial, shots: int = _SHOTS) -> tuple[str, str]:
    """Both jobs, of which the first was claimed for already."""
    subject, began = str(uuid4()), time.time()
    first = trial.submit(shots=shots, subject=subject)
    second = trial.submit(shots=shots // 2, subject=subject)
    trial.node_at_work(since=began)
    return first, second


def wait_until_done(trial: Trial, job: str) -> JobView:
    with trial.target.client() as client:
        return trial.target.house.wait_for(lambda: client.job(job), lambda view: view.status == "done")


def times_of_leases(trial: Trial, job: str) -> list[float]:
    return [batch["leased_at"] for batch in trial.batches() if batch["job_id"] == job]


def underestimated(trial: Trial, job: str) -> float:
    """What those batches of the job that cost more than their estimates cost more, together."""
    rendering = "SELECT sum(cost) FROM attempts WHERE batch_id = batches.id"
    costs = trial.target.rows(
        f"SELECT estimate, load_cost + lost_cost + ({rendering}) AS cost FROM batches WHERE job_id = :job",
        job=job,
    )
    return sum(max(0.0, batch["cost"] - batch["estimate"]) for batch in costs)


def test_what_another_job_wants_is_made_although_one_is_cancelled(trial: Trial) -> None:
    first, second = submit_both(trial)
    with trial.target.client() as client:
        client.steer_job(first, "cancel")
    wait_until_done(trial, second)
    found = trial.judge()
    assert len(found.wanted) == _SHOTS // 2
    assert trial.fates()["cancelled"] > 0


def test_what_another_job_wants_is_made_although_one_is_paused(tmp_path: Path) -> None:
    # Of short batches, so that shots wait when the job is paused.
    timing = TIMING.model_copy(update={"batch_s": TIMING.batch_s / 8})
    with farm_at_work(tmp_path, timing=timing) as watch:
        _pause_one(Trial(watch.target, watch))


def _pause_one(trial: Trial) -> None:
    first, second = submit_both(trial, _MORE_THAN_ALL_NODES_TAKE_AT_ONCE)
    with trial.target.client() as client:
        client.steer_job(first, "pause")
        paused_at = time.time()
        wait_until_done(trial, second)
        # But for the pause, what the first job waits for would have its turn by now.
        wait_until_done(trial, trial.submit(shots=_OTHERS, steps=2))
        view = client.job(first)
        assert view.status == "paused"
        assert view.counts["waiting"]
        assert all(leased_at < paused_at for leased_at in times_of_leases(trial, first))
        client.steer_job(first, "resume")
    assert len(trial.judge().wanted) == _MORE_THAN_ALL_NODES_TAKE_AT_ONCE + _OTHERS


def test_what_another_job_wants_is_made_although_one_is_out_of_money(trial: Trial) -> None:
    trial.submit(shots=_SHOTS, size=_SMALL)
    trial.settle()
    subject = str(uuid4())
    with trial.target.client() as client:
        cost = client.job(trial.jobs[0]).cost
        # More than the estimate at submission.
        budget = cost / 2.5
        first = trial.submit(shots=_SHOTS, size=_SMALL, subject=subject, max_cost=budget)
        second = trial.submit(shots=_SHOTS // 2, size=_SMALL, subject=subject)
        wait_until_done(trial, second)
        trial.target.house.wait_for(lambda: client.job(first).status, lambda status: status == "paused")
        trial.target.house.wait_for(trial.in_hand, operator.not_)
        view = client.job(first)
        assert view.reason.startswith("it has spent")
        assert 0 < view.cost <= budget + underestimated(trial, first) + _ROUNDING
        assert view.counts["waiting"]
        client.steer_job(first, "cancel")
    trial.judge()
