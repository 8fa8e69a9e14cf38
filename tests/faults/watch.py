"""What is seen of the farm from outside while faults are done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
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
    #: Keys whose object was another one at a later look.
    changed: set[str] = field(default_factory=set)
    #: Keys without an object at a later look.
    gone: set[str] = field(default_factory=set)
    #: From and to when the gateway did not answer, if there is one.
    gateway_outages: list[tuple[float, float]] = field(default_factory=list)
    looks: int = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch as long as the block lasts."""
        over = threading.Event()
        threads = [
            threading.Thread(target=_ask, args=(over, self.target.answers, self.outages), name="outages"),
            threading.Thread(target=self._look, args=(over,), name="store"),
        ]
        if self.target.settings().gateway.listen:
            asked = over, self.target.gateway_answers, self.gateway_outages
            threads.append(threading.Thread(target=_ask, args=asked, name="gateway outages"))
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
        self.changed |= {key for key, first in self.seen.items() if now.get(key, first) != first}
        self.gone |= self.seen.keys() - now.keys()
        self.seen = now | self.seen
        self.looks += 1
        return now

    def _look(self, over: threading.Event) -> None:
        while not over.wait(_LOOK_AT_STORE_S):
            with suppress(BotoCoreError, ClientError, OSError):
                self.look()


def _ask(over: threading.Event, answers: Callable[[], bool], outages: list[tuple[float, float]]) -> None:
    """Note from and to when something does not answer."""
    silent_since = None
    while not over.wait(_ASK_S):
        asked = time.time()
        if answers():
            if silent_since is not None:
                outages.append((silent_since, time.time()))
            silent_since = None
        elif silent_since is None:
            silent_since = asked
    if silent_since is not None:
        outages.append((silent_since, time.time()))
