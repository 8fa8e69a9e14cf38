"""A walk through everything that may happen, in any order: what must hold always, holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import Conflict, Gone
from common.failures import FAILURES
from common.messages import Lease, Spent
from common.states import AttemptState, ShotState
from coordinator.ledger.backlog import Line
from coordinator.ledger.schema import attempts, batches, images, jobs, nodes, shots, wants
from tests.contract.ledger.bench import TIMING, Bench, Holder, placed, work

#: The database is wiped for every walk, so that one fixture serves them all.
walks = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
randoms = st.randoms(use_true_random=False)
NAMES = ("a", "b", "c")


class Walk:
    """One random course of events; leases are kept after their end, so that late calls come too."""

    def __init__(self, bench: Bench, random: Random) -> None:
        bench.clear()
        self.bench = bench
        self.random = random
        self.nodes: dict[str, Holder] = {}
        self.leases: list[Lease] = []
        self.deliveries: list[str] = []

    def step(self) -> None:
        usual = [self.claim, self.claim, self.report, self.report, self.report, self.verdict, self.verdict]
        rare = [
            self.submit,
            self.submit,
            self.join,
            self.beat,
            self.close,
            self.steer,
            self.operate,
            self.pass_time,
        ]
        # Too late, or not now: the rules say so, and nothing may have changed.
        with suppress(Gone, Conflict):
            self.random.choice([*usual, *rare, self.bench.restart])()

    def submit(self) -> None:
        model = self.random.choice(("tiny", "other"))
        first, number = self.random.randrange(12), self.random.randrange(1, 8)
        shots = placed(number, first=first, model=model, min_class=self.random.choice((0, 8, 8, 8)))
        self.bench.submit(shots, priority=self.random.randrange(100))

    def join(self) -> None:
        name = self.random.choice(NAMES)
        self.nodes[name] = self.bench.join(name, self.random.choice((8, 12, 32)))

    def claim(self) -> None:
        if self.nodes:
            lease = self.random.choice(list(self.nodes.values())).claim().lease
            self.leases += [lease] if lease else []

    def beat(self) -> None:
        for node in self.nodes.values():
            node.beat()

    def report(self) -> None:
        lease = self._lease()
        if lease is not None:
            index = self.random.randrange(len(lease.shots))
            if self.random.random() < 0.6:
                attempt = self.bench.deliver(lease, index).attempt_id
                self.deliveries += [attempt] if attempt else []
            else:
                self.bench.fail(lease, self.random.choice(list(FAILURES)), index)

    def verdict(self) -> None:
        if self.deliveries:
            outcome = self.random.choice(("stored", "duplicate", "rejected", "put off"))
            failure = self.random.choice(list(FAILURES))
            self.bench.store(self.random.choice(self.deliveries[-3:]), outcome=outcome, failure=failure)

    def close(self) -> None:
        lease = self._lease()
        if lease is not None:
            outcome = self.random.choice(("finished", "released", "failed", "oom"))
            spent = self.random.choice((Spent(), work(1.0)))
            self.bench.close(lease, outcome, failure=self.random.choice(list(FAILURES)), spent=spent)

    def _lease(self) -> Lease | None:
        """Mostly one in force, now and then one that is over."""
        in_force = {row.id for row in self.bench.rows(batches) if row.state == "leased"}
        fresh = [lease for lease in self.leases if lease.batch_id in in_force]
        pool = fresh if fresh and self.random.random() < 0.9 else self.leases
        return self.random.choice(pool) if pool else None

    def steer(self) -> None:
        known = self.bench.ledger.jobs()
        if known:
            ledger = self.bench.ledger
            verbs: list[Callable[[str], object]] = [ledger.cancel_job, ledger.pause_job, ledger.resume_job]
            verbs += [ledger.retry_job, ledger.requeue_job, ledger.accept_failures]
            self.random.choice(verbs)(self.random.choice(known).id)

    def pass_time(self) -> None:
        for _ in range(self.random.randrange(1, 9)):
            self.bench.clock.now += TIMING.sweep_s
            self.bench.ledger.sweep()

    def operate(self) -> None:
        if self.nodes:
            ledger, name = self.bench.ledger, self.random.choice(list(self.nodes))
            who = self.random.choice(("operator", "owner"))
            verbs: list[Callable[[], None]] = [
                lambda: ledger.drain_node(name),
                lambda: ledger.pause_node(name, who=who),
                lambda: ledger.resume_node(name, who=who),
                lambda: ledger.quarantine_node(name),
                lambda: ledger.forgive_node(name),
            ]
            self.random.choice(verbs)()


def check(bench: Bench) -> None:
    """What must hold between any two calls."""
    state = {row.id: row.state for row in bench.rows(shots)}
    open_attempts = Counter(
        (row.shot_id, row.state)
        for row in bench.rows(attempts)
        if row.state in (AttemptState.RUNNING, AttemptState.DELIVERED)
    )
    # A shot is in hand exactly when one attempt at it is, and in the same state.
    assert open_attempts == Counter(
        (shot_id, now) for shot_id, now in state.items() if now in (ShotState.RUNNING, ShotState.DELIVERED)
    )
    # An image is stored for every shot that is done, and for no other.
    assert {row.shot_id for row in bench.rows(images)} == {i for i, now in state.items() if now == "done"}
    _check_nodes(bench)
    # Attempts run in leased batches only.
    leased = {row.id for row in bench.rows(batches) if row.state == "leased"}
    assert {row.batch_id for row in bench.rows(attempts) if row.state == "running"} <= leased
    _check_backlog(bench)


def _check_nodes(bench: Bench) -> None:
    fleet = {row.id: row for row in bench.rows(nodes)}
    held = Counter(row.node_id for row in bench.rows(batches) if row.state == "leased")
    # A node holds at most one lease, and is busy, draining or tested while it does.
    assert not held or max(held.values()) == 1
    tested = {id_ for id_, row in fleet.items() if row.state == "selftest"}
    assert held.keys() - tested == {id_ for id_, row in fleet.items() if row.state in ("busy", "draining")}
    # A node is distrusted while it is quarantined or tested, and may be while it is paused.
    for row in fleet.values():
        assert row.state == "paused" or (row.state in ("quarantined", "selftest")) == bool(row.distrusted_at)
    # The batch of a test is one shot.
    shots_held = Counter(row.node_id for row in bench.rows(attempts) if row.state == "running")
    assert all(shots_held[id_] <= 1 for id_ in tested)


def _check_backlog(bench: Bench) -> None:
    """What the memory counts is what the tables hold, and nothing waits that no live job wants."""
    rows = {row.id: row for row in bench.rows(shots)}
    intents = {row.id: row.intent for row in bench.rows(jobs)}
    expected: Counter[Line] = Counter()
    wanted = set()
    for want in bench.rows(wants):
        row = rows[want.shot_id]
        if intents[want.job_id] != "cancelled":
            wanted.add(row.id)
        if intents[want.job_id] == "active" and row.state == "waiting":
            expected[Line(want.job_id, row.group_key, row.min_class)] += 1
    assert bench.backlog_lines() == dict(expected)
    assert {row.id for row in rows.values() if row.state == "waiting"} <= wanted


@walks
@given(random=randoms, steps=st.integers(20, 80))
def test_no_course_of_events_breaks_the_ledger(bench: Bench, random: Random, steps: int) -> None:
    walk = Walk(bench, random)
    for _ in range(steps):
        walk.step()
        check(bench)


@walks
@given(random=randoms, steps=st.integers(5, 40))
def test_whatever_happened_a_willing_node_finishes_the_job(bench: Bench, random: Random, steps: int) -> None:
    walk = Walk(bench, random)
    for _ in range(steps):
        walk.step()
    job = bench.submit(placed(10, first=100))
    bench.ledger.sweep()
    node = bench.join("willing", 32, models=("tiny", "other"))
    while (lease := node.claim().lease) is not None:
        bench.finish(lease)

    assert bench.ledger.job(job.job_id).status == "done"
    check(bench)
