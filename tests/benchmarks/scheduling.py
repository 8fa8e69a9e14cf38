"""How close the planner comes to what the cards can do, in farmsim, a simulator of a farm of 70 cards.

Needs the simulator's folder in FARMSIM. Each figure is a mean over seeds, as a multiple of the clairvoyant
lower bound of the same seed: true speeds and departures known, no noise, no latency.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from tests.benchmarks.figures import Figure

SEEDS = 10
#: Scenario to what the mean ratio must not exceed.
WANTED = {"a": 1.3, "a2": 1.06, "b": 1.3, "c": 1.5, "d": 1.18, "f": 1.08}


def measure() -> Iterator[Figure]:
    folder = os.environ.get("FARMSIM")
    if not folder:
        print("scheduling is not measured: FARMSIM names no folder with farmsim", file=sys.stderr)
        return
    sys.path.insert(0, folder)
    adapter = importlib.import_module("tests.benchmarks.farmsim_adapter")
    simulator, policies, workloads = map(importlib.import_module, ("farmsim", "policies", "workloads"))
    for scenario, at_most in WANTED.items():
        runs = [
            _run(simulator, policies, workloads.SCENARIOS[scenario], adapter, seed) for seed in range(SEEDS)
        ]
        ratios = [run["makespan"] / run["bound"] for run in runs]
        yield Figure(name=f"{scenario}: makespan / bound, mean", value=fmean(ratios), at_most=at_most)
        yield Figure(name=f"{scenario}: makespan / bound, worst", value=max(ratios))
        used = 1 - fmean(run["waste"] for run in runs)
        # In so short a job, the model that a beaten node loaded in its only pass counts as wasted, too.
        least = 0.9 if scenario == "a" else 0.95
        yield Figure(name=f"{scenario}: GPU time that is not wasted", value=used, at_least=least)
        if scenario in ("a2", "f"):
            energy = fmean(run["wh"] for run in runs)
            yield Figure(name=f"{scenario}: Wh of an image", value=energy, at_most=1.1, unit="Wh")
        if scenario == "d":
            for name in ("small50", "small95"):
                yield Figure(name=f"{scenario}: {name}", value=fmean(run[name] for run in runs), unit="s")


def _run(simulator: Any, policies: Any, scenario: Any, adapter: Any, seed: int) -> dict[str, float]:
    run: dict[str, float] = simulator.Farm(scenario(), adapter.PlannerPolicy(), seed).run()
    rival = simulator.Farm(scenario(), policies.make("P0"), seed)
    return run | {"bound": simulator.lower_bound(rival)}
