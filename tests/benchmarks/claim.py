"""The processor time of a claim on SQLite, as foreign shots, work keys, jobs, nodes and history grow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from coordinator.ledger import open_engine
from tests.benchmarks.figures import Figure
from tests.benchmarks.history import grow_history
from tests.contract.ledger.bench import Bench, Holder, placed

FOREIGN = 0, 1_000, 10_000, 100_000
CLAIMS = 30
#: What grows, besides foreign shots, and how far.
ROWS = {"work keys": (1, 10, 100), "jobs": (1, 10, 100), "nodes": (1, 100, 1000), "attempts": (100, 40_000)}
#: What a claim does not grow with; it still looks at all that waits in its lane.
FLAT = "nodes", "attempts"


def measure() -> Iterator[Figure]:
    alone = 0.0
    for foreign in FOREIGN:
        claim_ms = claim(foreign=foreign)
        alone = alone or claim_ms
        yield Figure(name=f"claim behind {foreign:,} foreign shots", value=claim_ms, unit="ms")
    yield Figure(name=f"behind {FOREIGN[-1]:,} foreign shots / none", value=claim_ms / alone, at_most=1.5)
    for what, numbers in ROWS.items():
        found = {}
        for number in numbers:
            found[number] = claim(**{what: number})
            yield Figure(name=f"claim with {number:,} {what}", value=found[number], unit="ms")
        if what in FLAT:
            few, *_, many = numbers
            ratio = f"claim with {many:,} / {few:,} {what}"
            yield Figure(name=ratio, value=found[many] / found[few], at_most=1.5)


def claim(**grown: int) -> float:
    """Median milliseconds of a claim of one batch of 2 shots, with so much of what grows."""
    with ledger_of() as bench:
        node = _busy_farm(bench, grown)
        return median(_claims(node)) * 1000


def _busy_farm(bench: Bench, grown: dict[str, int]) -> Holder:
    """Another owner's work, and enough of one's own for every claim."""
    if grown.get("foreign"):
        bench.submit(placed(grown["foreign"], first=1_000_000), owner="studio")
    for key in range(grown.get("work keys", 1)):
        bench.submit(placed(2 * CLAIMS, steps=10 + key), owner="shop", priority=60)
    for job in range(1, grown.get("jobs", 1)):
        bench.submit(placed(2 * CLAIMS, first=job * 1000), owner="shop", priority=60)
    for number in range(1, grown.get("nodes", 1)):
        bench.join(f"other-{number}")
    node = bench.join()
    if "attempts" in grown:
        bench.finish(node.lease())
        grow_history(bench.engine, grown["attempts"])
    return node


def _claims(node: Holder) -> Iterator[float]:
    """Seconds of each claim; a node that was never measured gets one pass of 2."""
    for _ in range(CLAIMS):
        begin = time.process_time()
        lease = node.lease()
        yield time.process_time() - begin
        node.bench.close(lease, "released")


@contextmanager
def ledger_of() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder) / 'ledger.sqlite'}")
        try:
            yield Bench(engine)
        finally:
            engine.dispose()


def seconds(call: Callable[[], object], times: int = 20) -> float:
    """Median seconds of processor that a call takes."""

    def once() -> float:
        begin = time.process_time()
        call()
        return time.process_time() - begin

    return median(once() for _ in range(times))
