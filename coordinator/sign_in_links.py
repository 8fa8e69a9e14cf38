"""Links that sign a browser in with a key: each works once and for a short time.

They are kept in memory, so a restart of the coordinator ends them.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from common.errors import Unauthorised

#: Links that can be open at a time; the oldest ends when there are more.
_MOST = 1000


@dataclass(slots=True)
class SignInLinks:
    """Thread-safe."""

    #: Seconds for which a link can be used.
    valid_s: float = 600.0
    monotonic: Callable[[], float] = time.monotonic
    #: Token to the ID of its key, and when it ends; the oldest first.
    _open: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self, key_id: str) -> str:
        """Returns a new token for a key."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            while len(self._open) >= _MOST:
                del self._open[next(iter(self._open))]
            self._open[token] = key_id, self.monotonic() + self.valid_s
        return token

    def look(self, token: str) -> str:
        """Returns the ID of the key of a token, which can be used on. Raises Unauthorised."""
        with self._lock:
            return self._valid(*self._open.get(token, ("", 0.0)))

    def take(self, token: str) -> str:
        """Returns the ID of the key of a token, and ends it. Raises Unauthorised."""
        with self._lock:
            return self._valid(*self._open.pop(token, ("", 0.0)))

    def _valid(self, key_id: str, ends_at: float) -> str:
        if not key_id or ends_at <= self.monotonic():
            raise Unauthorised(
                "this sign-in link was used before or has expired: `farm page` prints another one"
            )
        return key_id
