import logging
import threading
import time
from itertools import pairwise

import pytest

from common.errors import Unavailable
from coordinator.background.loop import Loop

_DEADLINE_S = 10


class Rounds:
    """Work that does what `outcomes` say, one a round, and then counts on."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self._outcomes = list(outcomes)
        self._done = threading.Semaphore(0)

    def __call__(self) -> None:
        outcome = self._outcomes.pop(0) if self._outcomes else None
        self._done.release()
        if outcome:
            raise outcome

    def wait(self, rounds: int) -> None:
        for _ in range(rounds):
            assert self._done.acquire(timeout=_DEADLINE_S)


@pytest.mark.parametrize(
    ("troubles", "logged"),
    [
        (["the broker is away", "the broker is away"], ["the broker is away"]),
        (["the broker is away", "the disk is full"], ["the broker is away", "the disk is full"]),
    ],
)
def test_each_trouble_is_logged_once_and_its_end_too(
    troubles: list[str], logged: list[str], caplog: pytest.LogCaptureFixture
):
    rounds = Rounds(*map(Unavailable, troubles))
    loop = Loop("dispatcher", rounds, period_s=0.001)
    with caplog.at_level(logging.WARNING):
        loop.start()
        rounds.wait(len(troubles) + 2)
        loop.stop()
    assert [record.message for record in caplog.records] == [
        *(f"dispatcher: {trouble}" for trouble in logged),
        "dispatcher works again",
    ]


def test_a_bug_does_not_end_the_loop():
    rounds = Rounds(ZeroDivisionError())
    loop = Loop("sweeper", rounds, period_s=0.001)
    loop.start()
    rounds.wait(3)
    loop.stop()


def test_a_loop_that_is_woken_does_not_wait_for_its_period():
    rounds = Rounds()
    loop = Loop("dispatcher", rounds, period_s=3600)
    loop.start()
    rounds.wait(1)
    loop.wake()
    rounds.wait(1)
    loop.stop()


def test_a_loop_that_is_woken_all_the_time_rests_between_its_rounds():
    moments: list[float] = []
    loop = Loop("dispatcher", lambda: moments.append(time.monotonic()), period_s=60, rest_s=0.02)
    loop.start()
    while len(moments) < 5:
        loop.wake()
    loop.stop()
    assert all(later - earlier >= 0.02 for earlier, later in pairwise(moments))
