"""Calls of servers that may be away for a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from common.errors import Unavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds between tries, doubling.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0


def pauses() -> Iterator[float]:
    """Seconds between one try and the next, without end."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def insist(call: Callable[[], _T], given_up: threading.Event) -> _T | None:
    """The call's answer, however often it must be made; None once `given_up`, but for the first try.

    Raises what the call raises, Unavailable excepted.
    """
    said = ""
    for pause_s in pauses():
        try:
            return call()
        except Unavailable as error:
            if str(error) != said:
                said = str(error)
                log.warning("%s; trying again until it does", said)
        if given_up.wait(pause_s):
            break
    return None
