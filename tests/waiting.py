"""Waiting for what nobody announces: a foreign server, the next scrape, what a farm's processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

#: Seconds for whatever comes as soon as it can, more than a starved machine needs: only a hang takes so long.
PATIENCE_S = 240.0

#: Seconds between two questions, at first and at most: each costs the farm that is asked some processor, too.
_FIRST_POLL_S, _POLL_S = 0.02, 0.2


def until(
    ask: Callable[[], _T],
    wanted: Callable[[_T], bool] = bool,
    *,
    within_s: float = PATIENCE_S,
    evidence: Callable[[], str] = str,
) -> _T:
    """Ask until the answer is one that is `wanted`; AssertionError with the `evidence` after `within_s`."""
    deadline, pause_s = time.monotonic() + within_s, _FIRST_POLL_S
    while not wanted(answer := ask()):
        assert time.monotonic() < deadline, f"{answer}\n{evidence()}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, _POLL_S)
    return answer
