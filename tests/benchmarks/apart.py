"""Measurements in a process of their own, whose peak memory is theirs alone."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from os import wait4, waitstatus_to_exitcode
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Used:
    """What a piece of work took."""

    #: On the clock.
    seconds: float
    cpu_s: float
    peak_mb: float


def apart(work: Callable[..., _T], *arguments: object) -> tuple[_T, Used]:
    """Call a function of a module in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measured, work, *arguments).result()


def command_apart(command: Sequence[str]) -> tuple[str, Used]:
    """Run a command to its good end: its output, and what it took from start to exit.

    Its peak memory is this process' own where that is larger.
    """
    with tempfile.TemporaryFile("w+") as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said)
        _, status, used = wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with code {process.returncode}")
        said.seek(0)
        return said.read(), Used(seconds, used.ru_utime + used.ru_stime, _mb(used.ru_maxrss))


def _measured(work: Callable[..., _T], *arguments: object) -> tuple[_T, Used]:
    begin, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    return result, Used(seconds, cpu_s, _peak_mb())


def _peak_mb() -> float:
    """Of this process. On Linux `ru_maxrss` begins at the size of the parent, so it is not asked there."""
    status = Path("/proc/self/status")
    if not status.exists():
        return _mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 2**10


def _mb(maxrss: int) -> float:
    """`ru_maxrss` counts kilobytes, on macOS bytes."""
    return maxrss / 2**20 if sys.platform == "darwin" else maxrss / 2**10
