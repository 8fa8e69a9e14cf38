"""One supervised process: how it is started, watched and ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """A part of the farm that runs as a process of its own."""

    name: str
    command: tuple[str, ...]
    #: Whether it answers; asked a few times a second until it does.
    is_ready: Callable[[], bool] = lambda: True
    #: Working folder; None: the home.
    folder: Path | None = None
    #: Variables of its own, besides the farm's.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Where it listens, for people.
    address: str = ""
    #: Seconds that it has to end by itself before it is killed.
    stop_within_s: float = 10.0


@dataclass(slots=True)
class Child:
    """The running process of one component, in a process group of its own."""

    component: Component
    log: Path
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.component.command,
                cwd=self.component.folder or self.folder,
                env={**self.environment, **self.component.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own group: Ctrl-C at the terminal reaches the supervisor alone, which ends all in order.
                process_group=0,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def exit_status(self) -> int | None:
        """None while it runs or was never started; negative for the signal that ended it."""
        return self.process.poll() if self.process else None

    def ask_to_stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Until it has ended, at the latest after `timeout_s`; then it and its group are killed."""
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(timeout_s, 0.01))
        self._kill_group()
        self.process.wait()

    def _kill_group(self) -> None:
        """End what is left of the group, such as an engine whose node was killed."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Runs between fork and exec: the kernel kills the child when the supervisor dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
