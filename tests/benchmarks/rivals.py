"""The hand-written loops that the farm is measured against, as processes on the render core."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.shot import Shot
from tests.benchmarks.cores import RENDER_CORE, pin

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ResidentLoop:
    """One that keeps its pipeline."""

    process: subprocess.Popen[str]
    folder: Path

    def seconds(self, shots: Sequence[Shot], pass_size: int) -> float:
        """What these shots take."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {
            "folder": str(self.folder),
            "pass_size": pass_size,
            "shots": [shot.to_dict() for shot in shots],
        }
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        seconds = float(self.process.stdout.readline())
        assert len(list(self.folder.iterdir())) == len(shots)
        for file in self.folder.iterdir():
            file.unlink()
        return seconds


@contextmanager
def resident_loop(model: Path, *arguments: str) -> Iterator[ResidentLoop]:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, str(_HERE / "resident_loop.py"), str(model), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pin(process.pid, RENDER_CORE)
        with process:
            yield ResidentLoop(process, Path(folder))
            assert process.stdin is not None
            process.stdin.close()


def process_per_image_s(model: Path, shot: Shot) -> float:
    """Seconds of a process that loads the pipeline and renders one image."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        command = [sys.executable, str(_HERE / "single_image.py"), str(model)]
        process = subprocess.Popen([*command, json.dumps(shot.to_dict()), folder])
        pin(process.pid, RENDER_CORE)
        assert process.wait() == 0
        assert len(list(Path(folder).iterdir())) == 1
        return time.perf_counter() - begin
