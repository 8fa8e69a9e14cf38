"""Shots made a second in one process, and the memory that many more of them take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common.catalog import load_catalog
from tests.benchmarks.apart import apart
from tests.benchmarks.figures import Figure
from tests.benchmarks.manifests import expanded, large, ranged

FEW, MANY = 100_000, 1_000_000
#: What the seeds of a combination share is made once, a drawn prompt for every shot.
CASES: dict[str, dict[str, Any]] = {
    "a hundred seeds": {"seeds": 100},
    "one seed": {"seeds": 1},
    "excluded ones": {"seeds": 1, "exclude": "[{colour: colour 1, thing: thing 1}, {thing: thing 2}]"},
    "drawn prompts": {"seeds": 10, "prompt": "a {colour} {thing} in a {place}, {rain|{2$$snow|fog|wind}}"},
}


def measure() -> Iterator[Figure]:
    for case, settings in CASES.items():
        _, few = apart(walk, FEW, settings)
        _, many = apart(walk, MANY, settings)
        yield Figure(name=f"{case}, shots", value=MANY / many.cpu_s, unit="1/s", at_least=25_000)
        yield Figure(name=f"{case}, memory", value=many.peak_mb, unit="MB")
        yield Figure(
            name=f"{case}, memory of {MANY:,} / {FEW:,}", value=many.peak_mb / few.peak_mb, at_most=1.2
        )
        yield Figure(
            name=f"{case}, time a shot of {MANY:,} / {FEW:,}",
            value=many.cpu_s / few.cpu_s * FEW / MANY,
            at_most=1.5,
        )
    _, one_axis = apart(walk_range, MANY)
    yield Figure(name="a range of all, shots", value=MANY / one_axis.cpu_s, unit="1/s", at_least=25_000)
    yield Figure(name="a range of all, memory", value=one_axis.peak_mb, unit="MB", at_most=500)


def walk(shots: int, settings: dict[str, Any]) -> None:
    """Make every shot, or all but a tenth and a hundredth."""
    left = shots * 89 // 100 if "exclude" in settings else shots
    assert sum(1 for _ in expanded(large(shots, **settings), load_catalog())) == left


def walk_range(shots: int) -> None:
    assert sum(1 for _ in expanded(ranged(shots), load_catalog())) == shots
