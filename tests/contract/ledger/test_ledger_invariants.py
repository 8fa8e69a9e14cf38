"""A walk through everything that may happen, in any order: what must hold always, holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.embeddings import Embedded
from common.errors import Conflict, Gone, NotFound
from common.failures import FAILURES, Blame, kinds
from common.messages import Lease, Spent
from common.states import ATTEMPT, BATCH, NODE, SHOT, Machine
from common.views import Rejection
from coordinator.ledger import PlacedShot, retention
from coordinator.ledger.schema import batches, events, images, removals, shots, wants
from coordinator.scheduling.running import Copy
from tests.contract.ledger.bench import TIMING, Bench, Holder, lora, placed, work
from tests.ledger_rules import check_ledger, tallied_by_day

#: The database is wiped for every walk, so that one fixture serves them all.
walks = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
randoms = st.randoms(use_true_random=False)
NAMES = ("a", "b", "c")
#: Whose nodes may be, besides those of the farm; and what images look like: alike or not, with a doubt.
VOLUNTEERS = ({"owner": "vic", "terms": "volunteer"}, {"owner": "eve", "terms": "volunteer"})
LOOKS = ("0" * 160, "0" * 160, "f" * 160, "0" * 130 + "3" * 30)
#: Seconds for which details of jobs are kept; a walk lasts some minutes.
KEEP_S = 4.0
#: What an explanation promises of a node that is free.
PROMISE = re.compile(r"[Nn]ode (\w+) takes (?:this|other shots of the same job) next")
MACHINES: tuple[Machine[Any, Any], ...] = (SHOT, ATTEMPT, BATCH, NODE)
#: What needs more patience or more accidents than a walk of a few hundred steps has.
RARE = {
    ("shot", "exhausted"),
    ("shot", "enlarged"),
    ("shot", "outgrown"),
    ("node", "tested"),
    ("node", "confined"),
}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of retention, so that walks come by between them."""
    monkeypatch.setattr(retention, "WANTS", 3)
    monkeypatch.setattr(retention, "ROWS", 6)


class Walk:
    """One random course of events; leases are kept after their end, so that late calls come too."""

    volunteers: Sequence[dict[str, str]] = VOLUNTEERS

    def __init__(self, bench: Bench, random: Random) -> None:
        bench.rules = replace(bench.rules, keep_s=KEEP_S)
        bench.clear()
        self.bench = bench
        #: Nouns and events that are removed meanwhile.
        self.seen: set[tuple[str, str]] = set()
        self.random = random
        self.nodes: dict[str, Holder] = {}
        self.leases: list[Lease] = []
        self.deliveries: list[str] = []
        for _ in NAMES:
            self.join()
            self.submit()

    def step(self) -> None:
        usual = [self.claim, self.report, self.report, self.verdict]
        rare = [self.submit, self.join, self.beat, self.close, self.steer, self.operate, self.pass_time]
        rare += [self.remove, self.thin, self.trim, self.duplicate, self.embed]
        # Too late, or not now: the rules say so, and nothing may have changed.
        with suppress(Gone, Conflict, NotFound):
            self.random.choice([*usual * 6, *rare * 3, self.bench.restart])()

    def go(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def submit(self) -> None:
        """A job of one or two groups, some of whose shots other jobs want too."""
        owner = self.random.choice(("ana", "ben", "cleo"))
        groups = [self._group() for _ in range(self.random.randrange(1, 3))]
        wanted = {one.planned.id: one for group in groups for one in group}
        # Two pictures cost more than the smaller budget.
        max_cost = self.random.choice((None, None, 1e-5, 1.0))
        self.bench.submit(
            wanted.values(), owner=owner, priority=self.random.randrange(100), max_cost=max_cost
        )

    def _group(self) -> list[PlacedShot]:
        first, number = self.random.randrange(6), self.random.randrange(1, 8)
        min_class = self.random.choice((0, 8, 8, 8, 12))
        # One field at a time, so that groups meet often.
        kind: dict[str, Any] = self.random.choice(
            (
                {},
                {},
                {"model": "other"},
                {"guidance": 7.0},
                {"steps": 20},
                {"width": 500},
                {"sampler": "heun"},
                {"loras": (lora("ink"),)},
            )
        )
        found = placed(number, first=first, min_class=min_class, **{"guidance": 1.0} | kind)
        # Three seeds of each text.
        return [one._replace(texts=f"t{one.planned.shot.seed // 3}") for one in found]

    def join(self) -> None:
        name = self.random.choice(NAMES)
        whose: dict[str, Any] = self.random.choice(({}, {}, *self.volunteers)) if self.volunteers else {}
        self.nodes[name] = self.bench.join(name, self.random.choice((8, 12, 32)), **whose)

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
            if self.random.random() < 0.7:
                attempt = self.bench.deliver(lease, index).attempt_id
                self.deliveries += [attempt] if attempt else []
            else:
                self.bench.fail(lease, self._failure(), index)

    def verdict(self) -> None:
        if self.deliveries:
            outcome = self.random.choice(("stored", "stored", "duplicate", "rejected", "put off"))
            attempt = self.random.choice(self.deliveries[-3:])
            looks = self.random.choice(LOOKS)
            withheld = self.random.choice(("", "", "", "x: nsfw 0.90"))
            facts = {"failure": self._failure(), "perceptual_hash": looks, "withheld": withheld}
            self.bench.store(attempt, outcome=outcome, **facts)

    def close(self) -> None:
        lease = self._lease()
        if lease is not None:
            outcome = self.random.choice(("finished", "released", "failed", "oom"))
            spent = self.random.choice((Spent(), work(1.0)))
            self.bench.close(lease, outcome, failure=self._failure(), spent=spent)

    def trim(self) -> None:
        lease = self._lease()
        if lease is not None:
            self.bench.ledger.batches.trim({lease.batch_id: self.random.randrange(1, 4)})

    def duplicate(self) -> None:
        """Let a node render what waits for it, and then what another one has just begun."""
        if len(self.nodes) < 2:
            return
        name, other = self.random.sample(sorted(self.nodes), 2)
        self.bench.submit(placed(3, first=1000 + 10 * next(self.bench.numbers)))
        begun = self.nodes[other].claim().lease
        while begun is not None and (lease := self.nodes[name].claim().lease) is not None:
            self.bench.finish(lease)
        if begun is not None:
            (job_id,) = {row.job_id for row in self.bench.rows(batches) if row.id == begun.batch_id}
            self.bench.ledger.backlog.adopt(
                {}, {name: Copy(begun.batch_id, job_id, self.random.randrange(1, 4))}
            )
            copy = self.nodes[name].claim().lease
            self.leases += [lease for lease in (begun, copy) if lease is not None]

    def embed(self) -> None:
        """A node tells that the store has the embeddings of its batch, or has lost some."""
        ledger, lease = self.bench.ledger, self._lease()
        if lease is not None and self.random.random() < 0.6:
            ledger.embeddings.note_batch(lease.batch_id, Embedded({"text_encoder": "float32"}, {}))
        elif lease is not None:
            ledger.embeddings.forget_batch(lease.batch_id)
        else:
            ledger.embeddings.forget_before(self.bench.clock.now)

    def _failure(self) -> str:
        """Every other one is the shot's own, so that some shots use up their attempts."""
        return self.random.choice(sorted(FAILURES if self.random.random() < 0.5 else kinds(Blame.SHOT)))

    def _lease(self) -> Lease | None:
        """Mostly one in force, now and then one that is over."""
        in_force = {row.id for row in self.bench.rows(batches) if row.state == "leased"}
        fresh = [lease for lease in self.leases if lease.batch_id in in_force]
        pool = fresh if fresh and self.random.random() < 0.9 else self.leases
        return self.random.choice(pool) if pool else None

    def steer(self) -> None:
        known = self.bench.jobs()
        if known:
            ledger = self.bench.ledger
            verbs: list[Callable[[str], object]] = [ledger.jobs.cancel, ledger.jobs.pause, ledger.jobs.resume]
            verbs += [ledger.jobs.retry, ledger.jobs.requeue, ledger.jobs.accept_failures]
            self.random.choice(verbs)(self.random.choice(known).id)

    def remove(self) -> None:
        """Approve what is withheld; reject or delete what is stored, or was rejected before."""
        withheld = self.bench.ledger.images.withheld()
        if withheld and self.random.random() < 0.7:
            self.bench.ledger.images.approve(self.random.choice(withheld).shot_id)
            return
        had = [row for table in (wants, removals) for row in self.bench.rows(table)]
        stored = {row.id for row in self.bench.rows(shots) if row.state in ("done", "withheld")}
        some = [row for row in had if row.shot_id in stored] or had
        if not some:
            return
        ledger, one = self.bench.ledger, self.random.choice(some)
        job = self.random.choice((None, one.job_id))
        redo: Literal["no", "next seed", "same seed"] = self.random.choice(("no", "next seed", "same seed"))
        verbs: list[Callable[[], object]] = [
            lambda: ledger.shots.reject(one.shot_id, Rejection(redo=redo), job),
            lambda: ledger.images.delete(one.shot_id, "ana", job),
            lambda: ledger.images.delete_of_job(one.job_id, "ana"),
            lambda: ledger.images.erased([picture.key for picture in ledger.images.doomed(1)]),
        ]
        self.random.choice(verbs * 3 + [self._take_down])()

    def _take_down(self) -> None:
        for image in self.bench.rows(images)[:1]:
            self.bench.ledger.images.delete_content(image.sha256, "ben")

    def pass_time(self) -> None:
        for _ in range(self.random.choice((1, 2, 4, 8, 16, 32))):
            self.bench.clock.now += TIMING.sweep_s
            self.bench.ledger.sweep()

    def thin(self) -> None:
        """Some steps of retention, mostly not to its end: sums of any whole days stay as they were."""
        self.seen |= self.happened()
        if self.random.random() < 0.5:
            self.bench.ledger.jobs.cancel(self.random.choice(self.bench.jobs()).id)
        self.bench.ledger.thin()  # notes what has ended
        self.bench.clock.now += KEEP_S + 1
        before = self._tallied()
        for _ in range(self.random.choice((1, 2, 4, 30))):
            self.bench.ledger.thin()
        assert self._tallied() == pytest.approx(before)

    def _tallied(self) -> dict[Any, float]:
        with self.bench.ledger.transactions.read() as connection:
            return tallied_by_day(connection)

    def happened(self) -> set[tuple[str, str]]:
        return self.seen | {(row.noun, row.event) for row in self.bench.rows(events)}

    def operate(self) -> None:
        if self.nodes:
            ledger, name = self.bench.ledger, self.random.choice(list(self.nodes))
            who: Literal["operator", "owner"] = self.random.choice(("operator", "owner"))
            usual: list[Callable[[], None]] = [
                lambda: ledger.nodes.resume(name, who=who),
                lambda: ledger.nodes.forgive(name),
            ]
            rare: list[Callable[[], None]] = [
                lambda: ledger.nodes.drain(name),
                lambda: ledger.nodes.leave(name, self.nodes[name].joined.incarnation),
                lambda: ledger.nodes.pause(name, who=who),
                lambda: ledger.nodes.quarantine(name),
                lambda: ledger.nodes.forget(name),
                lambda: ledger.nodes.remove(name),
                lambda: ledger.nodes.vouch(name),
                lambda: ledger.nodes.disavow(name),
                lambda: self._discard(name),
            ]
            # Else most nodes would be out of service, and nothing more would happen.
            self.random.choice(usual * 2 + rare)()

    def _discard(self, name: str) -> None:
        self.bench.ledger.nodes.discard_images(name, "ana")

    def explain(self) -> dict[str, str]:
        """Ask why each shot waits; node to a shot of which it was said that the node takes its job next."""
        promised: dict[str, str] = {}
        for waiting in [row.id for row in self.bench.rows(shots) if row.state == "waiting"]:
            told = self.bench.ledger.explain(waiting, version="1").sentences
            assert told[0].partition(" waits: ")[2], told
            promised |= dict.fromkeys(PROMISE.findall(" ".join(told)), waiting)
        return promised

    def keep_a_promise(self, promised: dict[str, str]) -> None:
        """Let one of these nodes claim: it gets what its shot's job wants."""
        if promised:
            name = self.random.choice(sorted(promised))
            lease = self.nodes[name].claim().lease
            assert lease is not None, f"{name} takes {promised[name]} next, and gets nothing"
            self.leases.append(lease)
            (job_id,) = {row.job_id for row in self.bench.rows(batches) if row.id == lease.batch_id}
            wanting = {row.job_id for row in self.bench.rows(wants) if row.shot_id == promised[name]}
            assert job_id in wanting


@walks
@given(random=randoms, steps=st.integers(20, 80))
def test_no_course_of_events_breaks_the_ledger(bench: Bench, random: Random, steps: int) -> None:
    walk = Walk(bench, random)
    for _ in range(steps):
        walk.step()
        check_ledger(bench.ledger)


@walks
@given(random=randoms, steps=st.integers(20, 80))
def test_every_shot_that_waits_is_explained_and_who_is_said_to_take_it_does(
    bench: Bench, random: Random, steps: int
) -> None:
    walk = Walk(bench, random)
    for step in range(steps):
        walk.step()
        if step % 10 == 0:
            walk.keep_a_promise(walk.explain())


@pytest.mark.slow
# What a walk comes by does not depend on the database.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_walks_come_by_nearly_everything_that_may_happen(bench: Bench) -> None:
    missing = {(m.noun, one.event) for m in MACHINES for one in m.transitions} - RARE
    for seed in range(12):
        walk = Walk(bench, Random(seed))
        walk.go(300)
        missing -= walk.happened()
        if not missing:
            break
    assert missing == set()


@walks
@given(random=randoms, steps=st.integers(5, 40))
def test_whatever_happened_a_willing_node_finishes_the_job(bench: Bench, random: Random, steps: int) -> None:
    Walk(bench, random).go(steps)
    job = bench.submit(placed(10, first=100))
    bench.ledger.sweep()
    # Of a type of its own: cards of the others may have been found to have too little memory.
    node = bench.join("willing", 48, models=("tiny", "other"))
    while (lease := node.claim().lease) is not None:
        bench.finish(lease)
    for image in bench.ledger.images.withheld():
        bench.ledger.images.approve(image.shot_id)

    assert bench.ledger.jobs.view(job.job_id).status == "done"
    check_ledger(bench.ledger)
