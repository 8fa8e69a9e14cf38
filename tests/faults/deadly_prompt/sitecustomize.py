"""Python runs this at its start in every process of a farm under faults.

An engine that is told to render a prompt with the deadly word is killed, as by a driver or the kernel. The
coordinator has no tokenizers, so that a prompt which is too long comes as far as an engine, and duplicates
whatever it can.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import TextIO

_WORD = "basilisk"


class _Fatal:
    """The engine's stdin; lets no command pass that would be its last."""

    def __init__(self, commands: TextIO) -> None:
        self._commands = commands

    def __iter__(self) -> Iterator[str]:
        for line in self._commands:
            if '"command":"render"' in line and _WORD in line:
                os.kill(os.getpid(), signal.SIGKILL)
            yield line


if "gpu_node.engine" in sys.orig_argv:
    sys.stdin = _Fatal(sys.stdin)
if "coordinator.service" in sys.orig_argv:
    sys.modules["tokenizers"] = None  # type: ignore[assignment]
    # The jobs are too small for duplicates within a share of their time.
    from coordinator.scheduling import work

    work._DUPLICATES = 1.0
