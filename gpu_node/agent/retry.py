"""Calls of servers that may be away for a while."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from common.errors import FarmError, TooMany, Unavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds between tries, doubling.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0
#: Share of a pause that is added by chance, so that nodes that lost a server together do not return together.
_JITTER = 0.5
#: Seconds for which a server that is back may still wait for the next attempt.
LONGEST_WAIT_S = _LONGEST_PAUSE_S * (1 + _JITTER)
#: Seconds between looks at the signal to stop while a call is held.
_LOOK_S = 0.2


def pauses() -> Iterator[float]:
    """Seconds between one attempt and the next, without end."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(1, 1 + _JITTER)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def retry_until(stopped: threading.Event, call: Callable[[], _T]) -> _T | None:
    """The answer of `call`, repeated while it raises Unavailable or TooMany; None once `stopped` is set.

    The first attempt is made in any case, no other after `stopped` is set. Raises what else `call` raises.
    """
    logged = ""
    for pause_s in pauses():
        try:
            return call()
        except (Unavailable, TooMany) as error:
            if str(error) != logged:
                logged = str(error)
                log.warning("%s; retrying", logged)
        if stopped.wait(pause_s):
            break
    return None


def held_until(stopped: threading.Event, call: Callable[[], _T]) -> _T | None:
    """As `retry_until` of a call that the farm holds; returns None soon after `stopped` is set."""
    answers: queue.SimpleQueue[_T | FarmError | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(retry_until(stopped, call))
        except FarmError as error:
            answers.put(error)

    # On a thread of its own, since a node that stops does not wait for the answer.
    threading.Thread(target=ask, name="held call", daemon=True).start()
    while not stopped.is_set():
        with suppress(queue.Empty):
            answer = answers.get(timeout=_LOOK_S)
            if isinstance(answer, FarmError):
                raise answer
            return answer
    return None
