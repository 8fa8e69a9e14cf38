"""What is seen of the farm from outside while faults are done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.target import Target

_ASK_S = 0.2
_LOOK_AT_STORE_S = 10.0


@dataclass(slots=True)
class Watch:
    """Times are seconds since 1970, as in the ledger."""

    target: Target
    #: From and to when the coordinator did not answer.
    outages: list[tuple[float, float]] = field(default_factory=list)
    #: Key to tag and creation of objects when they were first seen.
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    #: Keys whose object was another one, or gone, at a later look.
    changed: set[str] = field(default_factory=set)
    looks: int = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch as long as the block lasts."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._ask, args=(over,), name="outages"),
            threading.Thread(target=self._look, args=(over,), name="store"),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def look(self) -> dict[str, tuple[str, float]]:
        """The pictures that are stored now."""
        now = self.target.objects("images/")
        self.changed |= {key for key, first in self.seen.items() if now.get(key) != first}
        self.seen = now | self.seen
        self.looks += 1
        return now

    def _ask(self, over: threading.Event) -> None:
        silent_since = None
        while not over.wait(_ASK_S):
            asked = time.time()
            if self.target.answers():
                if silent_since is not None:
                    self.outages.append((silent_since, time.time()))
                silent_since = None
            elif silent_since is None:
                silent_since = asked
        if silent_since is not None:
            self.outages.append((silent_since, time.time()))

    def _look(self, over: threading.Event) -> None:
        while not over.wait(_LOOK_AT_STORE_S):
            with suppress(BotoCoreError, ClientError, OSError):
                self.look()
