"""`farm plan` of a million shots, from the start of the command to its exit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.apart import Used, command_apart
from tests.benchmarks.figures import Figure
from tests.benchmarks.manifests import large
from tests.programs import program

FEW, MANY = 100_000, 1_000_000
_FARM = program("farm")


def measure() -> Iterator[Figure]:
    few, many = plan(FEW), plan(MANY)
    yield Figure(name=f"{MANY:,} shots", value=many.seconds, unit="s", at_most=90)
    yield Figure(name=f"{MANY:,} shots, memory", value=many.peak_mb, unit="MB", at_most=500)
    yield Figure(
        name=f"time a shot of {MANY:,} / {FEW:,}", value=many.cpu_s / few.cpu_s * FEW / MANY, at_most=1.5
    )


def plan(shots: int) -> Used:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.yaml"
        file.write_text(large(shots, seeds=100))
        said, used = command_apart([_FARM, "plan", str(file), "--json"])
    assert json.loads(said)["plan"]["images"] == shots
    return used
