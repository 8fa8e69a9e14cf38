"""What a scrape and the pages of a farm read on SQLite, as history, jobs and nodes grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.benchmarks.claim import ledger_of, seconds
from tests.benchmarks.figures import Figure
from tests.benchmarks.history import grow_history
from tests.contract.ledger.bench import Bench, placed

ATTEMPTS = 4_000, 40_000, 400_000
JOBS = 10, 100, 1_000
NODES = 7, 70, 700


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
                yield Figure(name=f"{name} with {number:,} {what}", value=value * 1000, unit="ms")


def reads(*, attempts: int = 100, jobs: int = 1, nodes: int = 1) -> dict[str, float]:
    """What is read to seconds."""
    with ledger_of() as bench:
        for job in range(jobs):
            bench.submit(placed(4, first=10 * job))
        for number in range(1, nodes):
            bench.join(f"other-{number}")
        bench.finish(bench.join().lease())
        grow_history(bench.engine, attempts)
        return {name: seconds(call) for name, call in _calls(bench).items()}


def _calls(bench: Bench) -> dict[str, Callable[[], object]]:
    job = bench.ledger.jobs.summaries()[-1].id
    return {
        "scrape": bench.ledger.accounts.totals,
        "list of jobs": bench.ledger.jobs.summaries,
        "one job": lambda: bench.ledger.jobs.view(job),
        "cost table": bench.ledger.accounts.cost_table,
    }
