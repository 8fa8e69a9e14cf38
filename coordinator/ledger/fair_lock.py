"""A lock that no thread can take again and again while others wait for it."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """Serves threads in the order in which they asked. `threading.Lock` serves whichever runs first."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        #: Locked turns of those that wait, the longest first.
        self._turns: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._turns.append(turn)
        turn.acquire()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._turns:
                self._turns.popleft().release()
            else:
                self._held = False
