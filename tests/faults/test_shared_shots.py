"""Two jobs want the same shots, and one of them is cancelled, paused or out of money in the middle."""

from __future__ import annotations

from uuid import uuid4

import pytest

from common.views import JobView
from tests.faults.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: The first job wants these, the second the first half of them.
_SHOTS = 24
#: So small that the estimate at submission is far below what the engine's pace will cost.
_SMALL = "64x64"


def submit_both(trial: Trial) -> tuple[str, str]:
    """Both jobs, of which the first was claimed for already."""
    subject = str(uuid4())
    first = trial.submit(shots=_SHOTS, subject=subject)
    second = trial.submit(shots=_SHOTS // 2, subject=subject)
    trial.node_at_work()
    return first, second


def wait_until_done(trial: Trial, job: str) -> JobView:
    with trial.target.client() as client:
        return trial.target.house.wait_for(lambda: client.job(job), lambda view: view.status == "done")


def test_what_another_job_wants_is_made_although_one_is_cancelled(trial: Trial) -> None:
    first, second = submit_both(trial)
    with trial.target.client() as client:
        client.cancel(first)
    wait_until_done(trial, second)
    found = trial.judge()
    assert len(found.wanted) == _SHOTS // 2
    assert trial.fates()["cancelled"] > 0


def test_what_another_job_wants_is_made_although_one_is_paused(trial: Trial) -> None:
    first, second = submit_both(trial)
    with trial.target.client() as client:
        client.pause(first)
        wait_until_done(trial, second)
        assert trial.fates()["waiting"] > 0
        client.resume(first)
    assert len(trial.judge().wanted) == _SHOTS


def test_what_another_job_wants_is_made_although_one_is_out_of_money(trial: Trial) -> None:
    trial.submit(shots=_SHOTS, size=_SMALL)
    trial.settle()
    subject = str(uuid4())
    with trial.target.client() as client:
        cost = client.job(trial.jobs[0]).cost
        first = trial.submit(shots=_SHOTS, size=_SMALL, subject=subject, max_cost=cost / 3)
        second = trial.submit(shots=_SHOTS // 2, size=_SMALL, subject=subject)
        wait_until_done(trial, second)
        assert client.job(first).cost < cost
        assert trial.fates()["waiting"] > 0
        client.cancel(first)
    trial.judge()
