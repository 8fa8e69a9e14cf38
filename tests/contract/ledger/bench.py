"""A ledger with a clock that the test moves, and short ways to what tests do often."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Column, Engine, Table, delete, event, select, update

from common.errors import FarmError
from common.fit import Seen
from common.messages import (
    CardFacts,
    Claim,
    ClaimAnswer,
    Close,
    Delivery,
    Heartbeat,
    Join,
    Lease,
    Report,
    Spent,
    Verdict,
)
from common.nodes import Card
from common.settings import Money, Timing
from common.shot import LoraUse, PlannedShot, Shot
from common.views import JobSummary
from common.work import Work
from coordinator.ledger import (
    Candidate,
    JoinedNode,
    Ledger,
    NewJob,
    PlacedShot,
    Reported,
    Rules,
    SubmittedJob,
    Swept,
)
from coordinator.ledger.schema import attempts, batches, events, jobs, metadata, nodes, shots
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.work import Line, OpenJob
from tests.cards import card_facts
from tests.clock import Clock

#: A quarantine is short, since each of its sweeps takes the test a while.
TIMING = Timing(quarantine_s=120)
START = 1_000_000.0
#: Age of nodes and leases: what they tell is believed as far as it fits in.
AGE_S = 100_000.0
SHA = "ab" * 32

T = TypeVar("T")


def shot(seed: int = 0, **fields: Any) -> Shot:
    given: dict[str, Any] = {
        "model": "tiny",
        "model_identity": f"sha256:{fields.get('model', 'tiny')}",
        "prompt": "a red mug",
        "negative": "",
        "width": 1000,
        "height": 1000,
        "steps": 10,
        "guidance": 0.0,
        "sampler": "euler",
    }
    return Shot(seed=seed, **given | fields)


def lora(name: str) -> LoraUse:
    return LoraUse(name, f"sha256:{name}", 1.0)


def planned(one: Shot, name: str | None = None) -> PlannedShot:
    return PlannedShot(one.id, one, name or f"{one.model}-{one.seed}", "a {colour} mug", "group")


def placed(number: int, *, first: int = 0, min_class: int = 8, **fields: Any) -> list[PlacedShot]:
    """So many shots that differ in their seed."""
    return [placed_one(shot(seed, **fields), min_class) for seed in range(first, first + number)]


def placed_one(one: Shot, min_class: int = 8, reason: str = "", *, name: str | None = None) -> PlacedShot:
    """Guidance above 1 doubles its forwards."""
    work = Work(
        one.model, one.loras, one.width, one.height, one.steps, one.sampler, 2 if one.guidance > 1 else 1
    )
    return PlacedShot(planned(one, name), work, min_class, reason)


def card(vram_gib: int, *, watts: float | None = None) -> CardFacts:
    return card_facts(vram_gib, compute_capability=(8, 9), watts=watts)


def place(one: Shot, card: Card, seen: Seen) -> Placement | str:
    """Two images a pass; 4096 pixels fit no card below 24 GB."""
    if one.width >= 4096 and card.vram_class < 24:
        return "4096 pixels need 24 GB; 1024 fit"
    images = seen.ceilings.get("bf16", 2)
    return Placement("bf16", images) if images else f"{card.name} ran out of memory with one image"


def work(seconds: float, joules: float = 0.0, **phases: float) -> Spent:
    return Spent(joules=joules, energy_method="sampled", seconds={"denoise": seconds, **phases})


def good(answers: Sequence[T | FarmError]) -> T:
    """The one answer; raises it where it is an error."""
    (answer,) = answers
    if isinstance(answer, FarmError):
        raise answer
    return answer


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """A node that joined."""

    bench: Bench
    joined: JoinedNode

    @property
    def id(self) -> str:
        return self.joined.node_id

    def claim(self, ticket: str | None = None, *, lane: str = "public", **facts: Any) -> ClaimAnswer:
        claim = Claim(
            node_id=self.id,
            incarnation=self.joined.incarnation,
            ticket=ticket or f"ticket-{next(self.bench.numbers)}",
            **facts,
        )
        ticket = {"ticket_lane": lane, "ticket_class": self.joined.vram_class}
        answer = self.bench.ledger.batches.claim(claim, **ticket)
        if answer.lease is not None:
            self.bench.age(batches.c.leased_at, answer.lease.batch_id)
        return answer

    def lease(self, **facts: Any) -> Lease:
        answer = self.claim(**facts)
        assert answer.lease is not None, answer.nothing
        return answer.lease

    def beat(self, lease: Lease | None = None, **facts: Any) -> Any:
        held = {} if lease is None else {"batch_id": lease.batch_id, "token": lease.token}
        beat = Heartbeat(incarnation=self.joined.incarnation, **held | facts)
        return good(self.bench.ledger.nodes.heartbeats([(self.id, beat)]))

    def fail(self, kind: str, times: int = 1) -> None:
        """Claim, fail one shot and give the others back, so many times."""
        for _ in range(times):
            lease = self.lease()
            self.bench.fail(lease, kind)
            self.bench.close(lease, "released")


class Bench:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = Clock(START)
        self.numbers = itertools.count()
        self.rules = Rules(timing=TIMING, rates=Money(), place=place)
        #: Whether nodes and leases are old enough for all that is told of them to be believed.
        self.ages = True
        self.ledger = self.restart()

    def restart(self, **rules: Any) -> Ledger:
        """A new coordinator on the same database, from now on with these rules."""
        lead = Candidate(self.engine, "bench", patience=1).look()
        assert lead is not None
        self.rules = replace(self.rules, **rules)
        self.ledger = Ledger(lead, self.rules, clock=self.clock)
        return self.ledger

    def clear(self) -> None:
        """The database as it was before its first coordinator, and the clock with it."""
        with self.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
        self.clock.now = START
        self.restart()

    def submit(self, shots: Iterable[PlacedShot], **fields: Any) -> SubmittedJob:
        given: dict[str, Any] = {
            "name": "mugs",
            "owner": "ana",
            "lane": "public",
            "priority": 50,
            "manifest": "version: 1",
            "random_seed": 0,
        }
        self.clock.now += 1
        return self.ledger.jobs.submit(NewJob(**given | fields), shots)

    def jobs(self, owner: str | None = None) -> list[JobSummary]:
        """Those of an owner (None: of all), newest first; of one moment the last that was submitted."""
        turns = {row.id: turn for turn, row in enumerate(self.rows(jobs))}
        found, _ = self.ledger.jobs.page(owner, limit=1000)
        return sorted(found, key=lambda job: (job.submitted_at, turns[job.id]), reverse=True)

    def join(
        self,
        name: str = "node",
        vram_gib: int = 8,
        *,
        owned_lanes: tuple[str, ...] | None = None,
        broker_digest: str = "",
        **fields: Any,
    ) -> Holder:
        given: dict[str, Any] = {"name": name, "card": card(vram_gib), "models": ("tiny", "other")}
        join = Join(**given | fields)
        joined = self.ledger.nodes.join(join, owned_lanes=owned_lanes, broker_digest=broker_digest)
        self.age(nodes.c.joined_at, joined.node_id)
        return Holder(self, joined)

    def leased(self, number: int = 1) -> tuple[Holder, Lease]:
        """A node that joined, and its lease on a job of so many shots."""
        self.submit(placed(number))
        node = self.join()
        return node, node.lease()

    def deliver(
        self,
        lease: Lease,
        index: int = 0,
        spent: Spent | None = None,
        peak_bytes: int | None = None,
        pass_size: int = 1,
        fingerprint: dict[str, Any] | None = None,
    ) -> Reported:
        report = Report(
            token=lease.token,
            shot_id=lease.shots[index].id,
            outcome="delivered",
            sha256=SHA,
            size=100,
            spent=spent or work(2.0, 100.0),
            peak_bytes=peak_bytes,
            fingerprint={"pass": pass_size} | (fingerprint or {}),
        )
        return self.report(lease, report)

    def fail(self, lease: Lease, kind: str, index: int = 0, spent: Spent | None = None) -> Reported:
        report = Report(
            token=lease.token,
            shot_id=lease.shots[index].id,
            outcome="failed",
            failure=kind,
            spent=spent or Spent(),
        )
        return self.report(lease, report)

    def store(self, attempt_id: str | None, /, **fields: Any) -> Any:
        assert attempt_id is not None
        given: dict[str, Any] = {"outcome": "stored", "sha256": SHA, "size": 100}
        return good(self.ledger.ingest.verdicts([(attempt_id, Verdict(**given | fields))]))

    def age(self, since: Column[Any], row_id: str) -> None:
        """Let a row be as old as it takes for `credible` to believe anything, while no time passes."""
        if self.ages:
            with self.engine.begin() as connection:
                old = update(since.table).where(since.table.c.id == row_id)
                connection.execute(old.values({since: START - AGE_S}))

    def report(self, lease: Lease, report: Report) -> Reported:
        return good(self.ledger.batches.reports([(lease.batch_id, report)]))

    def delivery(self, attempt_id: str) -> Delivery:
        return good(self.ledger.ingest.deliveries([attempt_id]))

    def close(self, lease: Lease, outcome: Any = "finished", **fields: Any) -> Any:
        told = Close(token=lease.token, outcome=outcome, **fields)
        return good(self.ledger.batches.close([(lease.batch_id, told)]))

    def finish(self, lease: Lease, spent: Spent | None = None) -> None:
        """Deliver and store every shot of a lease, and close it."""
        for index in range(len(lease.shots)):
            self.store(self.deliver(lease, index, spent).attempt_id)
        self.close(lease)

    def rest(self) -> None:
        """Let a shot that failed on a node be tried there again."""
        self.clock.now += TIMING.retry_s

    def let_pass(self, seconds: float, *living: Holder) -> list[Swept]:
        """Sweep, slowly, while `seconds` pass and these nodes live; what the sweeps found."""
        found, end = [], self.clock.now + seconds // TIMING.sweep_s * TIMING.sweep_s
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + TIMING.heartbeat_s)
            for node in living:
                node.beat()
            found.append(self.ledger.sweep())
        return found

    def thin(self) -> int:
        """Until nothing is due to be removed; in so many transactions."""
        steps = 1
        while self.ledger.thin():
            steps += 1
        return steps

    def past_the_grace(self) -> None:
        """Until the coordinator's start is no excuse any more."""
        self.let_pass(TIMING.grace_s + TIMING.sweep_s)

    def quarantined(self) -> Holder:
        """A node that failed three times in a row by its own fault, with work that waits."""
        self.past_the_grace()
        self.submit(placed(40))
        node = self.join()
        node.fail("device_lost", 3)
        assert self.node_state() == "quarantined"
        return node

    def counts(self, job_id: str) -> dict[str, int]:
        return self.ledger.jobs.view(job_id).counts

    def node_state(self, name: str = "node") -> str:
        return next(node.state for node in self.ledger.nodes.views() if node.id == name)

    def node_row(self, name: str = "node") -> Any:
        return next(row for row in self.rows(nodes) if row.id == name)

    def rows(self, table: Table) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(select(table)))

    def backlog_lines(self) -> dict[Line, int]:
        """Images that wait, as the coordinator's memory has them."""
        with self.ledger.transactions.backlog() as backlog:
            return backlog.lines.copy()

    def open_job(self, job_id: str) -> OpenJob:
        """A job as the coordinator's memory has it."""
        with self.ledger.transactions.backlog() as backlog:
            return backlog.jobs[job_id]

    def use_of(self, owner: str) -> float:
        """What the coordinator's memory has of an owner's recent work, in seconds."""
        with self.ledger.transactions.backlog() as backlog:
            return backlog.usage.of(owner, self.clock.now)

    def shot_row(self, shot_id: str) -> Any:
        return next(row for row in self.rows(shots) if row.id == shot_id)

    def rows_of_shots(self) -> list[Any]:
        return self.rows(shots)

    def attempts_of(self, lease: Lease) -> list[Any]:
        return [row for row in self.rows(attempts) if row.batch_id == lease.batch_id]

    @contextmanager
    def counted_statements(self) -> Iterator[list[str]]:
        """Every statement that is sent within the block; one for many rows is one."""
        sent: list[str] = []

        def note(*given: Any) -> None:
            sent.append(given[2])

        event.listen(self.engine, "before_cursor_execute", note)
        try:
            yield sent
        finally:
            event.remove(self.engine, "before_cursor_execute", note)

    def transitions(self, subject: str) -> list[str]:
        return [row.event for row in self.rows(events) if row.subject == subject]
