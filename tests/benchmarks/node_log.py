"""What a node says, with the moment at which it said so: the times in its log are whole seconds."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import IO

#: Seconds; a node that says nothing for so long never will.
_WITHIN_S = 120

_Lines = SimpleQueue[tuple[float, str]]


class NodeLog:
    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def moments(self, *words: str, since: float) -> list[float]:
        """When the node first said each of them after `since`, in seconds since 1970. Raises queue.Empty."""
        found: dict[str, float] = {}
        while len(found) < len(words):
            at, line = self._lines.get(timeout=_WITHIN_S)
            said = [word for word in words if word in line and at >= since]
            found = dict.fromkeys(said, at) | found
        return [found[word] for word in words]


@contextmanager
def followed(log: Path) -> Iterator[NodeLog]:
    """The log of a node, read as it is written."""
    lines: _Lines = SimpleQueue()
    with subprocess.Popen(["tail", "-n", "+1", "-F", log], stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        thread = threading.Thread(target=_stamp, args=(tail.stdout, lines))
        thread.start()
        try:
            yield NodeLog(lines)
        finally:
            tail.terminate()
            thread.join()


def _stamp(written: IO[str], lines: _Lines) -> None:
    for line in written:
        lines.put((time.time(), line))
