"""Python runs this at its start in every process of a node under a memory cap; only engines are concerned.

From its first pass on an engine gets little more memory than the loaded model has taken.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

#: A pass of 64×64 takes a tenth of it, one of 512×512 twice as much.
_ROOM = 96 * 2**20


class _Capped:
    """The engine's stdin; a first pass brings the cap with it."""

    def __init__(self, commands: TextIO) -> None:
        self._commands = commands

    def __iter__(self) -> Iterator[str]:
        capped = False
        for line in self._commands:
            if not capped and '"command":"render"' in line:
                capped = True
                resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + _ROOM, resource.RLIM_INFINITY))
            yield line


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmData:")).split()[1]) * 1024


if "gpu_node.engine" in sys.orig_argv:
    sys.stdin = _Capped(sys.stdin)
