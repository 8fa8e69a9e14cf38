from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from itertools import islice, pairwise

import pytest

from common.errors import Gone, TooMany, Unavailable
from gpu_node.agent.retry import held_until, pauses, retry_until


class Impatient(threading.Event):
    """Waits for nothing; is set once `last` pauses were asked for."""

    def __init__(self, last: int = 1_000_000) -> None:
        super().__init__()
        self._left = last

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        if self._left <= 0:
            self.set()
        return self.is_set()


def answering(*answers: str | Exception) -> Callable[[], str]:
    """A call that gives or raises these, one after the other."""
    rest = iter(answers)

    def call() -> str:
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_a_call_is_repeated_until_it_is_answered() -> None:
    away = Unavailable("the store is away")
    assert retry_until(Impatient(), answering(*[away] * 20, "here")) == "here"


def test_what_waiting_does_not_help_is_raised_at_once() -> None:
    with pytest.raises(Gone):
        retry_until(Impatient(), answering(Unavailable("away"), Gone("the lease is over"), "late"))


def test_the_first_attempt_is_made_even_when_all_is_over() -> None:
    stopped = Impatient()
    stopped.set()
    assert retry_until(stopped, answering("here")) == "here"


def test_no_attempt_is_made_once_it_is_over() -> None:
    call = answering(*[Unavailable("away")] * 3, "too late")
    assert retry_until(Impatient(last=3), call) is None
    assert call() == "too late"


def test_a_reason_is_logged_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    reasons = [Unavailable(text) for text in ("away", "away", "busy", "busy", "away")]
    with caplog.at_level(logging.WARNING):
        retry_until(Impatient(), answering(*reasons, "here"))
    assert caplog.messages == ["away; retrying", "busy; retrying", "away; retrying"]


def test_pauses_grow_to_a_limit_and_differ_from_node_to_node() -> None:
    ours, theirs = (list(islice(pauses(), 12)) for _ in range(2))
    assert ours != theirs
    assert all(earlier < later for earlier, later in pairwise(ours[:6]))
    assert max(ours) <= 15


def test_a_call_that_the_farm_holds_is_left_when_the_node_stops() -> None:
    stopped, answered = threading.Event(), threading.Event()

    def hold() -> str:
        stopped.set()
        answered.wait()
        return "late"

    assert held_until(stopped, hold) is None
    answered.set()


def test_a_held_call_is_answered_repeated_and_refused_as_others_are() -> None:
    calls = answering(Unavailable("away"), TooMany("call again later"), "here")
    assert held_until(Impatient(), calls) == "here"
    with pytest.raises(Gone):
        held_until(Impatient(), answering(Gone("over")))
