"""When a job needs no more watching, and what its end means to a script."""

from __future__ import annotations

import pytest

from common.errors import Conflict, FitsNothing, SomeFailed
from common.messages import CardFacts
from common.units import GIB
from common.views import FailureView, JobView, NodeView, QueueView, StatusView
from coordinator.cli.watch import is_over, require_success, waits


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


def status(waiting: dict[int, int], **nodes: str) -> StatusView:
    """Shots waiting by class, and nodes by name: `small` has 8 GB, others 24; the value is their state."""
    facts = CardFacts(name="a card", backend="cpu", vram_bytes=8 * GIB, usable_bytes=GIB, ram_bytes=GIB)
    return StatusView(
        version="1",
        currency="EUR",
        started_at=0,
        broker="up",
        queues=tuple(
            QueueView(lane="public", vram_class=vram, waiting=shots, tickets=0)
            for vram, shots in waiting.items()
        ),
        nodes=tuple(
            NodeView(
                id=name, name=name, owner="farm", lanes=("public",), card="a card", facts=facts,
                terms="owned", vram_class=8 if name == "small" else 24, state=state, seen_at=0,
            )
            for name, state in nodes.items()
        ),
        jobs=(),
        requests_per_minute=0,
        tickets_per_minute=0,
    )  # fmt: skip


def test_what_a_larger_node_in_service_takes_waits_for_nobody() -> None:
    (wait,) = waits(status({8: 3}, large="busy"), "public")
    assert wait.taker == "in service"


def test_what_only_a_node_that_is_away_takes_waits_for_its_return() -> None:
    (wait,) = waits(status({24: 3}, small="ready", large="lost"), "public")
    assert wait.taker == "known"
    assert str(wait) == "3 shots wait for a node with 24 GB or more; none is in service"


def test_what_no_node_of_the_farm_takes_waits_in_vain() -> None:
    small, large = waits(status({8: 2, 24: 1}, small="ready"), "public")
    assert (small.taker, large.taker) == ("in service", "none")
    assert str(large) == "1 shot waits for a node with 24 GB or more; none is in service"


def test_another_lanes_queue_is_not_waited_for() -> None:
    assert waits(status({24: 3}), "studio") == []


def test_shots_that_were_given_up_are_an_error() -> None:
    with pytest.raises(FitsNothing, match="2 shots of job j1 fit no node"):
        require_success(job(done=1, waiting=2))
