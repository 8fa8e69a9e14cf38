"""How fast shots are made and how much memory it takes: `python -m tests.benchmarks.bench_expand [SHOTS]`.

Each figure comes from a process of its own. The exit code is set by ratios alone: ten times the shots may
take no more memory and no more than proportional time.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from common.catalog import load_catalog
from common.manifest.model import NOTHING, Axis, Group, Limits, Manifest, Seeds
from coordinator.expand import check_names, expand, take_census

#: Prompt and seeds of each case. A combination is resolved once, a drawn prompt for every shot.
CASES = {
    "ten seeds": ("a {look} {thing} in {place}", 10),
    "one seed": ("a {look} {thing} in {place}", 1),
    "drawn": ("a {look} {thing} in {place}, {rain|{2$$snow|fog|wind}}", 10),
}
LOOKS = 20

#: Peak memory of ten times the shots against that of the shots.
MEMORY_RATIO = 1.2
#: Time of ten times the shots against that of the shots, on a machine that does other things too.
TIME_RATIO = 15.0


def manifest(shots: int, prompt: str, seeds: int) -> Manifest:
    """At least `shots` shots of one group."""
    side = int((shots / seeds / LOOKS) ** 0.5 + 0.999999)
    lengths = {"look": LOOKS, "thing": side, "place": side}
    axes = {
        name: Axis(values=tuple(f"{name} number {i}" for i in range(length)), sets=(NOTHING,) * length)
        for name, length in lengths.items()
    }
    group = Group(name="bench", prompt=prompt, model="z-image-turbo", axes=axes, seeds=Seeds(count=seeds))
    return Manifest(version=1, shots=(group,), limits=Limits(max_images=10 * shots + 10_000))


def walk(shots: int, prompt: str, seeds: int) -> tuple[int, float, float]:
    """Makes every shot: how many, CPU seconds, peak MB."""
    begin = time.process_time()
    number = sum(1 for _ in expand(manifest(shots, prompt, seeds), load_catalog()))
    return number, time.process_time() - begin, _peak_mb()


def plan(shots: int, prompt: str, seeds: int) -> tuple[int, float, float]:
    """Makes every shot, checks all names and counts what differs: how many, CPU seconds, peak MB."""
    begin = time.process_time()
    expansion = expand(manifest(shots, prompt, seeds), load_catalog())
    census = take_census(expansion)
    check_names(expansion, census=census)
    return census.distinct, time.process_time() - begin, _peak_mb()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(shots: int = 1_000_000) -> dict[str, float]:
    """Prints and returns the figures, by name."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    figures: dict[str, float] = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        for case, (prompt, seeds) in CASES.items():
            few, few_s, few_mb = processes.submit(walk, shots // 10, prompt, seeds).result()
            many, many_s, many_mb = processes.submit(walk, shots, prompt, seeds).result()
            print(f"{case}: {many:,} shots, {many / many_s:,.0f} shots/s, {few_mb:.0f} to {many_mb:.0f} MB")
            figures[f"{case}, shots/s"] = many / many_s
            figures[f"{case}, time ratio"] = many_s / few_s * few * 10 / many
            figures[f"{case}, memory ratio"] = many_mb / few_mb
        many, seconds, peak = processes.submit(plan, shots, *CASES["ten seeds"]).result()
    print(f"plan: {many:,} shots with names and duplicates checked in {seconds:.0f} s, {peak:.0f} MB")
    return figures | {"plan, s": seconds, "plan, MB": peak}


def within_bounds(figures: dict[str, float]) -> bool:
    """Whether memory stays flat and time proportional."""
    bounds = {"memory ratio": MEMORY_RATIO, "time ratio": TIME_RATIO}
    return all(
        value <= bound
        for end, bound in bounds.items()
        for name, value in figures.items()
        if name.endswith(end)
    )


if __name__ == "__main__":
    sys.exit(not within_bounds(main(*map(int, sys.argv[1:]))))
