"""What a claim costs, as waiting shots, groups, jobs, nodes and history grow, and what loops beside it do.

Processor time on SQLite, whose statements run in the same process; time on PostgreSQL.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median

from common.nodes import VRAM_CLASSES
from coordinator.background.look_ahead import LookAhead
from coordinator.ledger import open_engine
from coordinator.scheduling.shortlist import next_work
from tests.benchmarks.figures import Figure
from tests.benchmarks.history import grow_backlog, grow_fleet, grow_history
from tests.contract.ledger.bench import TIMING, Bench, Holder, lora, placed, work
from tests.postgres import running_postgres

CLAIMS = 30
#: What grows, and how far.
ROWS = {"jobs": (1, 10, 100, 1000), "attempts": (100, 40_000)}
FLAT = "attempts"
NODES, GROUPS, SHOTS = (70, 5_000), (1, 1_000), 1_000_000
#: A claim with the most nodes or groups may cost so many times as much as with the fewest.
_AT_MOST = 1.5
#: What the rounds of the look-ahead grow with.
ROUNDS = {"nodes": (70, 1_000), "jobs": (1, 40), "groups": (1, 1_000)}


def measure() -> Iterator[Figure]:
    yield from table("SQLite", ledger_of, time.process_time)
    yield from table("PostgreSQL", ledger_on_postgres, time.perf_counter)
    for what, numbers in ROWS.items():
        found = {}
        for number in numbers:
            found[number] = claim(**{what: number})
            yield Figure(name=f"claim with {number:,} {what}", value=found[number], unit="ms")
        if what in FLAT:
            few, *_, many = numbers
            ratio = f"claim with {many:,} / {few:,} {what}"
            yield Figure(name=ratio, value=found[many] / found[few], at_most=_AT_MOST)
    for what, numbers in ROUNDS.items():
        for number in numbers:
            name = f"look-ahead round with {number:,} {what}"
            yield Figure(name=name, value=look_ahead_round(**{what: number}) * 1000, unit="ms")


def table(
    database: str, open_ledger: Callable[[], AbstractContextManager[Bench]], clock: Callable[[], float]
) -> Iterator[Figure]:
    """A claim, what the planner takes of it, and a dispatcher's round, by nodes and groups.

    The ratios are those of the fastest tenth of the claims.
    """
    found: dict[tuple[int, int], float] = {}
    for groups in GROUPS:
        with open_ledger() as bench:
            nodes = _fleet(bench, groups)
            _submit(bench, groups, SHOTS // 64 // groups)
            grow_backlog(bench.engine, SHOTS)
            for number in NODES:
                grow_fleet(bench.engine, number)
                bench.restart()
                name = f"{database}: {number:,} nodes, {groups:,} groups"
                claims = sorted(s for node in nodes for s in _claims(node, clock))
                # Other processes disturb the slower ones.
                found[number, groups] = claims[len(claims) // 10]
                yield Figure(name=f"{name}: claim", value=median(claims) * 1000, unit="ms", at_most=5)
                planner_us = _planner_s(bench, nodes[0].id) * 1e6
                yield Figure(name=f"{name}: its planner", value=planner_us, unit="µs", at_most=100)
                round_ms = seconds(bench.ledger.backlog.ticket_demand) * 1000
                yield Figure(name=f"{name}: dispatcher's round", value=round_ms, unit="ms", at_most=5)
    (few, many), (one, several) = NODES, GROUPS
    for groups in GROUPS:
        value = found[many, groups] / found[few, groups]
        name = f"{database}: claim, {many:,} / {few:,} nodes, {groups:,} groups"
        yield Figure(name=name, value=value, at_most=_AT_MOST)
    for number in NODES:
        value = found[number, several] / found[number, one]
        name = f"{database}: claim, {several:,} / {one:,} groups, {number:,} nodes"
        yield Figure(name=name, value=value, at_most=_AT_MOST)


def _fleet(bench: Bench, groups: int) -> list[Holder]:
    """Nodes with several kinds of cards; all have all LoRAs."""
    loras = tuple(f"persona-{group}" for group in range(groups))
    return [bench.join(f"node-{gib}", gib, loras=loras) for gib in VRAM_CLASSES[1:]]


def _submit(bench: Bench, groups: int, shots: int, *, job: int = 0) -> None:
    """A job with so many shots of each of its groups, which have a LoRA of their own."""
    first = job * groups
    bench.submit(
        (
            one
            for group in range(first, first + groups)
            for one in placed(shots, first=group * shots, loras=(lora(f"persona-{group}"),))
        ),
        owner=f"owner-{job % 10}",
    )


def _planner_s(bench: Bench, node_id: str) -> float:
    """Seconds of the planner alone."""
    rates, batch_s = bench.rules.rates, TIMING.batch_s
    with bench.ledger.transactions.backlog() as backlog:
        node, now = backlog.known(node_id), bench.clock.now
        return seconds(lambda: next_work(node, "public", backlog, rates, now, batch_s), times=200)


def look_ahead_round(nodes: int = 70, jobs: int = 1, groups: int = 1) -> float:
    """Seconds of processor that a round of the look-ahead takes when work waits and nothing changed."""
    with ledger_of() as bench:
        fleet = _fleet(bench, jobs * groups)
        for job in range(jobs):
            _submit(bench, groups, 40, job=job)
        for number, node in enumerate(fleet, 1):
            bench.finish(node.lease(), work(2.0 * number))
        grow_fleet(bench.engine, nodes)
        ledger = bench.restart()
        ahead = LookAhead(ledger, lambda _: None, period_s=1, patience_s=10, batch_s=TIMING.batch_s)
        return seconds(ahead._renew, times=5)


def claim(**grown: int) -> float:
    """Median milliseconds of a claim of one batch of 2 shots, with so much of what grows."""
    with ledger_of() as bench:
        node = _busy_farm(bench, grown)
        return median(_claims(node)) * 1000


def _busy_farm(bench: Bench, grown: dict[str, int]) -> Holder:
    """Enough work for every claim."""
    bench.submit(placed(2 * CLAIMS), owner="shop")
    for job in range(1, grown.get("jobs", 1)):
        bench.submit(placed(2 * CLAIMS, first=job * 1000), owner="shop")
    node = bench.join()
    if "attempts" in grown:
        bench.finish(node.lease())
        grow_history(bench.engine, grown["attempts"])
    return node


def _claims(node: Holder, clock: Callable[[], float] = time.process_time) -> Iterator[float]:
    """Seconds of each claim; a node that was never measured gets one pass of 2."""
    for _ in range(CLAIMS):
        begin = clock()
        lease = node.lease()
        yield clock() - begin
        node.bench.close(lease, "released")


@contextmanager
def ledger_of() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder, ledger_at(f"sqlite:///{folder}/ledger.sqlite") as bench:
        yield bench


@contextmanager
def ledger_on_postgres() -> Iterator[Bench]:
    with running_postgres() as folder, ledger_at(f"postgresql://farm@/postgres?host={folder}") as bench:
        yield bench


@contextmanager
def ledger_at(url: str) -> Iterator[Bench]:
    engine = open_engine(url)
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
