"""When a job needs no more watching, and what its end means to a script."""

from __future__ import annotations

import pytest

from common.errors import Conflict, FitsNothing, SomeFailed
from common.views import FailureView, JobView
from coordinator.cli.watch import is_over, require_success


def job(status: str = "running", intent: str = "active", reason: str = "", **counts: int) -> JobView:
    return JobView(
        id="j1",
        name="tea",
        owner="farm",
        lane="public",
        priority=50,
        intent=intent,
        status=status,
        reason=reason,
        submitted_at=0,
        images=sum(counts.values()),
        counts=counts,
        running={},
        images_per_minute=0,
        eta_s=None,
        cost=0,
        currency="EUR",
        failures=(FailureView(kind="image", message="all black", shots=1),) if counts.get("failed") else (),
    )


def test_a_job_with_shots_in_hand_is_not_over() -> None:
    assert not is_over(job(done=3, running=1))
    assert not is_over(job(done=3, delivered=1))


def test_a_job_whose_rest_fits_no_node_is_over() -> None:
    assert is_over(job(done=3, unschedulable=1))


def test_a_job_that_paused_itself_is_over() -> None:
    assert is_over(job(status="paused", intent="paused", reason="10 % failed", waiting=5))


def test_a_complete_job_is_a_success() -> None:
    require_success(job(status="done", done=4))


def test_failed_shots_are_an_error_that_says_why() -> None:
    with pytest.raises(SomeFailed, match=r"1 shot of job j1 failed\. 1 × image: all black"):
        require_success(job(status="failed", done=3, failed=1))


def test_shots_that_fit_nothing_are_an_error() -> None:
    with pytest.raises(FitsNothing, match="2 shots of job j1 fit no node"):
        require_success(job(done=1, unschedulable=2))


def test_a_cancelled_job_is_an_error() -> None:
    with pytest.raises(Conflict, match="cancelled with 1 of 3 images done"):
        require_success(job(status="cancelled", intent="cancelled", done=1, cancelled=2))
