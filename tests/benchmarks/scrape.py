"""What a scrape and the pages of a farm read on SQLite, as history, jobs and nodes grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, literal, select, update

from coordinator.calls.stages import Stages
from coordinator.calls.traffic import Traffic
from coordinator.ledger.schema import nodes as nodes_table
from coordinator.ledger.schema import speeds
from coordinator.metrics import FarmCollector
from tests.benchmarks.claim import ledger_of, seconds
from tests.benchmarks.figures import Figure
from tests.benchmarks.history import grow_history
from tests.contract.ledger.bench import Bench, placed

ATTEMPTS = 4_000, 40_000, 400_000
JOBS = 10, 100, 1_000
NODES = 7, 70, 700
#: Models of which the speed was measured on each node.
MODELS = "sdxl", "flux-dev", "z-image"
#: Milliseconds of a scrape of the largest fleet.
WANTED_MS = 20.0


def measure() -> Iterator[Figure]:
    few: dict[str, float] = {}
    for attempts in ATTEMPTS:
        for name, value in reads(attempts=attempts).items():
            few.setdefault(name, value)
            yield Figure(name=f"{name} after {attempts:,} attempts", value=value * 1000, unit="ms")
    for name, value in reads(attempts=ATTEMPTS[-1]).items():
        ratio = f"{name} after {ATTEMPTS[-1]:,} / {ATTEMPTS[0]:,} attempts"
        yield Figure(name=ratio, value=value / few[name], at_most=1.5)
    for what, numbers in {"jobs": JOBS, "nodes": NODES}.items():
        for number in numbers:
            for name, value in reads(**{what: number}).items():
                wanted = WANTED_MS if (name, number) == ("scrape", NODES[-1]) else None
                yield Figure(
                    name=f"{name} with {number:,} {what}", value=value * 1000, unit="ms", at_most=wanted
                )


def reads(*, attempts: int = 100, jobs: int = 1, nodes: int = 1) -> dict[str, float]:
    """What is read to seconds."""
    with ledger_of() as bench:
        for job in range(jobs):
            bench.submit(placed(4, first=10 * job))
        for number in range(1, nodes):
            bench.join(f"other-{number}")
        bench.finish(bench.join().lease())
        grow_history(bench.engine, attempts)
        _take_readings(bench.engine)
        bench.restart()
        return {name: seconds(call) for name, call in _calls(bench).items()}


def _take_readings(engine: Engine) -> None:
    """Give every node what a node that works has."""
    with engine.begin() as connection:
        connection.execute(
            update(nodes_table).values(watts=210.5, temperature_c=64.0, loaded_model=MODELS[0])
        )
        for model in MODELS:
            measured = select(nodes_table.c.id, literal(model), literal(1.5))
            connection.execute(insert(speeds).from_select(["node_id", "model", "seconds"], measured))


class _EmptyQueues:
    def depths(self, queues: list[str]) -> dict[str, int]:
        return dict.fromkeys(queues, 0)


def _calls(bench: Bench) -> dict[str, Callable[[], object]]:
    job = bench.jobs()[-1].id
    broker: Any = _EmptyQueues()
    collector = FarmCollector(
        bench.ledger, broker, Traffic(), Stages(), currency="EUR", home=Path(), started_at=0.0
    )
    return {
        "scrape": collector.exposition,
        "list of jobs": lambda: bench.ledger.jobs.unfinished(None),
        "one job": lambda: bench.ledger.jobs.view(job),
        "cost table": bench.ledger.accounts.cost_table,
    }
