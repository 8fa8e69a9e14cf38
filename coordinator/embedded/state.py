"""What the supervisor tells everyone else: a small file, and a lock held as long as it lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import Conflict
from common.keys import write_private
from coordinator.embedded.home import Home


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ComponentState(_Record):
    name: str
    #: `starting`: not ready yet; `waiting`: it died and is started again after a pause.
    state: Literal["starting", "ready", "waiting", "stopped"]
    pid: int | None
    restarts: int
    address: str = ""


class FarmState(_Record):
    """All that `farm up` and `farm status` know of the processes."""

    #: The supervisor's.
    pid: int
    phase: Literal["starting", "ready", "stopping", "failed"]
    components: tuple[ComponentState, ...] = ()
    #: Where API and web page answer.
    url: str = ""
    remarks: tuple[str, ...] = ()
    #: Why it failed.
    error: str = ""


class Narrator:
    """Says in sentences what happens to a farm, each thing once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._print = say
        self._printed: set[str] = set()

    def __call__(self, state: FarmState) -> None:
        for sentence in (*state.remarks, *map(_sentence, state.components)):
            if sentence and sentence not in self._printed:
                self._printed.add(sentence)
                self._print(sentence)


def _sentence(part: ComponentState) -> str:
    again = f" (restart {part.restarts})" if part.restarts else ""
    if part.state == "ready":
        return f"{part.name} is ready{again}"
    return f"{part.name} exited{again}" if part.state == "waiting" else ""


def read_state(home: Home) -> FarmState | None:
    """What the supervisor last said; None when it never did."""
    try:
        return FarmState.model_validate_json(home.state.read_text())
    except (FileNotFoundError, ValidationError):
        return None


def write_state(home: Home, state: FarmState) -> None:
    write_private(home.state, state.model_dump_json(indent=1))


def hold_lock(home: Home) -> int | None:
    """Become the one supervisor of this home until this process ends in any way; None if another is.

    Returns the descriptor of the lock; closing it gives the lock up earlier.
    """
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    # Left open: the kernel closes it after everything else of this process is over.
    return descriptor


def already_running(home: Home) -> Conflict:
    return Conflict(
        f"a farm is already running in {home.root}; `farm status` shows its state, `farm down` stops it"
    )


def supervisor_pid(home: Home) -> int | None:
    """Process id of the supervisor that runs this home now, 0 before it said it; None when none runs."""
    try:
        descriptor = os.open(home.lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 32).strip() or 0)
    else:
        return None
    finally:
        os.close(descriptor)
