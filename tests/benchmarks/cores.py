"""Who runs on which core: rendering on one, everything else on the others. Only Linux pins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.machine import usable_cores

#: Those of the whole benchmark, before anybody was pinned.
_ALL = set(usable_cores())
#: The one that whoever renders is pinned to.
RENDER_CORE = set(sorted(_ALL)[:1])


@contextmanager
def off_the_render_core() -> Iterator[None]:
    """This process, and those that it starts, leave the render core alone where there is another."""
    pin(os.getpid(), _ALL - RENDER_CORE)
    try:
        yield
    finally:
        pin(os.getpid(), _ALL)


def pin(pid: int, cores: set[int]) -> None:
    """Move every thread of a process; threads that it starts later follow the thread that starts them."""
    if not cores:
        return
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
