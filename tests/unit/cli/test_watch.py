"""When a job needs no more watching, and what its end means to a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest

from common.client.async_farm import AsyncFarm
from common.errors import Conflict, FarmError, FitsNothing, SomeFailed, Unavailable
from common.messages import CardFacts
from common.units import GIB
from common.views import EstimateView, FailureView, JobView, NodeView, QueueView, StatusView
from coordinator.cli import watch
from coordinator.cli.results import taken_words
from coordinator.cli.watch import follow, is_over, require_success, waits
from coordinator.client import FarmClient


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


@pytest.mark.parametrize(
    ("one", "over"),
    [
        (job(done=3, running=1), False),
        (job(done=3, delivered=1), False),
        # The rest fits no node.
        (job(done=3, unschedulable=1), True),
        # It paused itself.
        (job(status="paused", intent="paused", reason="10 % failed", waiting=5), True),
    ],
)
def test_a_job_is_over_when_nothing_of_it_goes_on(one: JobView, over: bool) -> None:
    assert is_over(one) is over


@pytest.mark.parametrize(
    ("one", "error", "said"),
    [
        (job(status="done", done=4), None, ""),
        (
            job(status="failed", done=3, failed=1),
            SomeFailed,
            r"1 shot of job j1 failed\. 1 × image: all black",
        ),
        (job(done=1, unschedulable=2), FitsNothing, "2 shots of job j1 fit no node"),
        (job(done=1, waiting=2), FitsNothing, "2 shots of job j1 fit no node"),
        (
            job(status="cancelled", intent="cancelled", done=1, cancelled=2),
            Conflict,
            "cancelled with 1 of 3 images done",
        ),
    ],
)
def test_the_end_of_a_job_is_a_success_or_its_own_error(
    one: JobView, error: type[FarmError] | None, said: str
) -> None:
    with pytest.raises(error, match=said) if error else nullcontext():
        require_success(one)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"took_s": None}, ""),
        ({}, "took 12 min 10 s; cost 0.312 EUR"),
        (
            {"estimate": EstimateView(seconds=700, images=4, cost=0.3), "rendered": 4},
            "took 12 min 10 s, 11 min 40 s estimated; cost 0.312 EUR, 0.300 EUR estimated",
        ),
        (
            {"estimate": EstimateView(seconds=700, images=4, cost=0.3), "rendered": 1, "paused_s": 65.0},
            "took 12 min 10 s, 11 min 40 s estimated; cost 0.312 EUR, 0.300 EUR estimated (estimated for 4 "
            "images, 1 rendered for this job; without 1 min 05 s in which it was paused or over)",
        ),
    ],
)
def test_what_a_job_took_stands_beside_what_was_estimated(facts: dict[str, Any], words: str) -> None:
    ended = job(status="done", done=4).model_copy(update={"took_s": 730.0, "cost": 0.312, **facts})
    assert taken_words(ended) == words


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


@pytest.mark.parametrize(
    ("waiting", "nodes", "told"),
    [
        # A larger node in service takes it.
        ({8: 3}, {"large": "busy"}, [("in service", "3 shots wait for")]),
        (
            {24: 3},
            {"small": "ready", "large": "lost"},
            [("known", "3 shots wait for a node with 24 GB or more; none is in service")],
        ),
        (
            {8: 2, 24: 1},
            {"small": "ready"},
            [
                ("in service", "2 shots wait for"),
                ("none", "1 shot waits for a node with 24 GB or more; none is in service"),
            ],
        ),
    ],
)
def test_what_waits_is_told_with_who_would_take_it(
    waiting: dict[int, int], nodes: dict[str, str], told: list[tuple[str, str]]
) -> None:
    found = waits(status(waiting, **nodes), "public")
    assert [(wait.taker, str(wait)[: len(said)]) for wait, (_, said) in zip(found, told, strict=True)] == told
    assert waits(status(waiting, **nodes), "studio") == []


class Scripted(FarmClient):
    """Answers by script; None is a farm that does not answer."""

    def __init__(self, *answers: JobView | None) -> None:
        super().__init__("http://127.0.0.1:1", None)
        self._answers = list(answers)

    def job(self, job_id: str) -> JobView:
        answer = self._answers.pop(0)
        if answer is None:
            raise Unavailable("the farm does not answer")
        return answer


def test_a_watcher_waits_for_a_coordinator_that_is_started_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0)
    begun, done = job(done=1, running=3), job(status="done", done=4)
    with Scripted(begun, begun, None, None, done) as client:
        assert follow(client, "j1") == done
    assert capsys.readouterr().err.count("the farm does not answer; retrying") == 1


class Eventful(AsyncFarm):
    """Something happens once."""

    async def events(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        yield None


def test_a_watcher_looks_again_when_something_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "AsyncFarm", Eventful)
    monkeypatch.setattr(watch, "_POLL_S", 0)
    monkeypatch.setattr(watch, "_LOOK_S", 3600)
    begun, done = job(done=1, running=3), job(status="done", done=4)
    with Scripted(begun, begun, done) as client:
        assert follow(client, "j1") == done


def test_a_watcher_may_begin_before_the_coordinator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0)
    done = job(status="done", done=4)
    with Scripted(None, None, done, done) as client:
        assert follow(client, "j1") == done
    assert capsys.readouterr().err.count("the farm does not answer; retrying") == 1


@pytest.mark.parametrize("answers", [(None,), (job(done=1, running=3), None)])
def test_a_watcher_ends_when_there_is_no_farm_or_it_stays_away(
    monkeypatch: pytest.MonkeyPatch, answers: Any
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0)
    monkeypatch.setattr(watch, "_SILENCE_S", -1)
    with Scripted(*answers) as client, pytest.raises(Unavailable):
        follow(client, "j1")
