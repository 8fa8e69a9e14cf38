"""What the coordinator does itself: requests answered and refused, tickets published."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import get_args

from common.errors import Reason

_MINUTE_S = 60.0


class Traffic:
    """Counts since the start of this process; safe to share between threads."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._tickets: Counter[tuple[str, int]] = Counter()
        self._refusals: Counter[Reason] = Counter()
        self._recent_requests: deque[float] = deque()
        self._recent_tickets: deque[float] = deque()

    def request(self, route: str, status: int) -> None:
        self._note(self._requests, (route, status), self._recent_requests)

    def refusal(self, reason: Reason) -> None:
        with self._lock:
            self._refusals[reason] += 1

    def ticket(self, lane: str, vram_class: int) -> None:
        self._note(self._tickets, (lane, vram_class), self._recent_tickets)

    def requests(self) -> dict[tuple[str, int], int]:
        """(route, HTTP status) to requests."""
        with self._lock:
            return dict(self._requests)

    def refusals(self) -> dict[Reason, int]:
        """Every reason to requests refused for it; 0 where none was."""
        with self._lock:
            return {reason: self._refusals[reason] for reason in get_args(Reason)}

    def tickets(self) -> dict[tuple[str, int], int]:
        """(lane, class) to tickets published."""
        with self._lock:
            return dict(self._tickets)

    def requests_per_minute(self) -> int:
        return self._last_minute(self._recent_requests)

    def tickets_per_minute(self) -> int:
        return self._last_minute(self._recent_tickets)

    def _note(self, counter: Counter[tuple[str, int]], key: tuple[str, int], recent: deque[float]) -> None:
        now = self._monotonic()
        with self._lock:
            counter[key] += 1
            recent.append(now)
            self._forget(recent, now)

    def _last_minute(self, recent: deque[float]) -> int:
        with self._lock:
            self._forget(recent, self._monotonic())
            return len(recent)

    @staticmethod
    def _forget(recent: deque[float], now: float) -> None:
        while recent and recent[0] < now - _MINUTE_S:
            recent.popleft()
