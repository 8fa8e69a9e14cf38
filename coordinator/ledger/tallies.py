"""Tallies: sums over everything that was ever recorded, updated by the transaction that changes them.

Reading a total takes a few rows, regardless of the length of the history. `tests/ledger_rules.py` recomputes
them from the raw rows after random sequences of events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select, update

from common.states import AttemptState, ShotState
from coordinator.ledger.charges import Charge, Charged, Charges, is_verification, use_of, utc_month
from coordinator.ledger.database import add_to
from coordinator.ledger.schema import ATTEMPT_PHASES, job_counts, jobs, key_days, owner_days, tallies

#: States of unfinished shots of a job.
OPEN = frozenset({ShotState.WAITING, ShotState.RUNNING, ShotState.DELIVERED})


def utc_day(at: float) -> date:
    """The day by which sums are kept."""
    return datetime.fromtimestamp(at, UTC).date()


class Tally(NamedTuple):
    """Key of one sum."""

    #: `attempts`, `failures`, `running`, `seconds`, `joules`, `cost`, `electricity`, `volunteered`, `loads`,
    #: `batches`, `use_seconds`, `use_cost`, `rejected_images`, `rejected_cost`; with an owner as their only
    #: label `owner_cost` and `owner_images`.
    kind: str
    model: str
    lane: str
    vram_class: int
    #: Depends on the kind: outcome, kind of failure, phase, energy method, kind of cost, use, or owner.
    label: str = ""


@dataclass(slots=True)
class Sums:
    """Additions of one transaction, written once at its end."""

    tallies: dict[Tally, float] = field(default_factory=dict)
    #: Shots by (job, state).
    shots: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Cost by job.
    costs: dict[str, float] = field(default_factory=dict)
    charges: Charges = field(default_factory=Charges)
    #: Images rendered, by job.
    rendered: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Sums:
        return Sums(
            self.tallies.copy(),
            self.shots.copy(),
            self.costs.copy(),
            self.charges.copy(),
            self.rendered.copy(),
        )

    def add(self, tally: Tally, value: float) -> None:
        if value:
            self.tallies[tally] = self.tallies.get(tally, 0.0) + value

    def count(self, job_id: str, state: str, shots: int) -> None:
        self.shots[job_id, state] = self.shots.get((job_id, state), 0) + shots

    def charge(self, job_id: str, cost: float) -> None:
        if cost:
            self.costs[job_id] = self.costs.get(job_id, 0.0) + cost

    def use(self, charged: Charged, charge: Charge, sign: int = 1) -> None:
        """Count what the time of a card was used for."""
        labels = charged.model, charged.lane, charged.vram_class
        self.add(Tally("use_seconds", *labels, charged.use), sign * charge.seconds)
        self.add(Tally("use_cost", *labels, charged.use), sign * charge.cost)
        self.charges.add(charged, charge, sign)

    def render(self, job_id: str, images: int) -> None:
        self.rendered[job_id] = self.rendered.get(job_id, 0) + images

    def write(self, connection: Connection, now: float) -> None:
        self.charges.write(connection)
        sums = [tally._asdict() | {"value": value} for tally, value in self.tallies.items()]
        add_to(connection, tallies, Tally._fields, ("value",), sums)
        counts = [
            {"job_id": job_id, "state": state, "shots": shots}
            for (job_id, state), shots in self.shots.items()
            if shots
        ]
        add_to(connection, job_counts, ("job_id", "state"), ("shots",), counts)
        self._reopen(connection)
        if self.costs:
            paid = [{"job": job_id, "paid": cost} for job_id, cost in self.costs.items()]
            mine = update(jobs).where(jobs.c.id == bindparam("job"))
            connection.execute(mine.values(cost=jobs.c.cost + bindparam("paid")), paid)
        if self.rendered:
            made = [{"job": job_id, "made": images} for job_id, images in self.rendered.items()]
            mine = update(jobs).where(jobs.c.id == bindparam("job"))
            connection.execute(mine.values(rendered=jobs.c.rendered + bindparam("made")), made)
        if self.costs or self.rendered:
            self._count_days(connection, utc_day(now))

    def _count_days(self, connection: Connection, day: date) -> None:
        """Count costs for the keys that submitted the jobs, costs and images for their owners."""
        of_keys: dict[str, float] = {}
        of_owners: dict[str, float] = {}
        images: Counter[str] = Counter()
        concerned = jobs.c.id.in_({*self.costs, *self.rendered})
        theirs = select(jobs.c.id, jobs.c.key, jobs.c.owner).where(concerned)
        for job_id, key, owner in connection.execute(theirs):
            cost = self.costs.get(job_id, 0.0)
            if key is not None:
                of_keys[key] = of_keys.get(key, 0.0) + cost
            of_owners[owner] = of_owners.get(owner, 0.0) + cost
            images[owner] += self.rendered.get(job_id, 0)
        for table, name, column, sums in (
            (key_days, "key", "cost", of_keys),
            (owner_days, "owner", "cost", of_owners),
            (owner_days, "owner", "images", images),
        ):
            rows = [{name: whose, "day": day, column: amount} for whose, amount in sums.items() if amount]
            add_to(connection, table, (name, "day"), (column,), rows)
        _count_owners(connection, of_owners, images)

    def _reopen(self, connection: Connection) -> None:
        """Record that jobs have unfinished work again."""
        begun: Counter[str] = Counter()
        for (job_id, state), shots in self.shots.items():
            begun[job_id] += shots * (state in OPEN)
        if jobs_begun := [job_id for job_id, shots in begun.items() if shots > 0]:
            ended = jobs.c.id.in_(jobs_begun), jobs.c.ended_at.is_not(None), jobs.c.thinning_at.is_(None)
            connection.execute(update(jobs).where(*ended).values(ended_at=None))


def _count_owners(connection: Connection, costs: Mapping[str, float], images: Mapping[str, int]) -> None:
    """Count costs and images of owners over all days, for metrics."""
    sums = [
        Tally(kind, "", "", 0, owner)._asdict() | {"value": value}
        for kind, of_owners in (("owner_cost", costs), ("owner_images", images))
        for owner, value in of_owners.items()
        if value
    ]
    add_to(connection, tallies, Tally._fields, ("value",), sums)


def tally_lease(sums: Sums, batch: Mapping[str, Any], images: int) -> None:
    """Count the attempts that begin with a batch."""
    sums.add(Tally("running", batch["model"], batch["lane"], batch["vram_class"]), images)


def tally_attempts(
    sums: Sums, rows: Iterable[Row[Any]], source: AttemptState, target: AttemptState, facts: Mapping[str, Any]
) -> None:
    """Count attempts that changed their state, and the `facts` that their rows gained.

    Each row has `model`, `lane`, `vram_class`, `failure` and `energy_method` after the change.
    """
    for row in rows:
        labels = row.model, row.lane, row.vram_class
        if source is AttemptState.RUNNING:
            sums.add(Tally("running", *labels), -1)
        if target is not AttemptState.DELIVERED:
            outcome = "cancelled" if row.failure == "cancelled" else target.value
            sums.add(Tally("attempts", *labels, outcome), 1)
            sums.add(Tally("failures", *labels, row.failure), 1)
            sums.use(*_settled(row, target))
        for phase in ATTEMPT_PHASES:
            sums.add(Tally("seconds", *labels, phase), facts.get(f"{phase}_s", 0.0))
        sums.add(Tally("joules", *labels, row.energy_method), facts.get("joules", 0.0))
        for kind in ("cost", "electricity", "volunteered"):
            sums.add(Tally(kind, *labels, "render"), facts.get(kind, 0.0))
        sums.add(Tally("cost", *labels, "storage"), facts.get("storage_cost", 0.0))


def _settled(row: Row[Any], state: AttemptState) -> tuple[Charged, Charge]:
    """Who is charged for a settled attempt, and how much."""
    charged = Charged(
        utc_month(row.settled_at),
        row.job_id,
        row.node_id,
        row.model,
        row.lane,
        row.vram_class,
        use_of(row.job_id, state, row.failure),
    )
    charge = Charge(
        images=int(state is AttemptState.STORED),
        seconds=row.encode_s + row.denoise_s + row.decode_s,
        joules=row.joules,
        cost=row.cost + row.storage_cost,
        electricity=row.electricity,
        volunteered=row.volunteered,
        storage=row.storage_cost,
    )
    return charged, charge


def is_for_duplicates(batch: Any) -> bool:
    """Whether the lost work of a batch row is the price of duplicates: it is one, or another was faster."""
    return batch.duplicates is not None or batch.beaten > 0


def tally_batch(sums: Sums, batch: Any, *, sign: int = 1) -> None:
    """Count loading and lost work of a batch row; `sign` -1 subtracts it."""
    labels = batch.model, batch.lane, batch.vram_class
    sums.add(Tally("loads", *labels), sign * batch.loads)
    sums.add(Tally("batches", *labels, batch.outcome), sign)
    month = utc_month(batch.closed_at)
    for part, label in (("load", "load"), ("lost", "duplicate" if is_for_duplicates(batch) else "lost")):
        seconds = getattr(batch, f"{part}_s")
        spent = {kind: getattr(batch, f"{part}_{kind}") for kind in _SPENT}
        sums.add(Tally("seconds", *labels, label), sign * seconds)
        sums.add(Tally("joules", *labels, batch.spent_method), sign * spent["joules"])
        for kind in ("cost", "electricity", "volunteered"):
            sums.add(Tally(kind, *labels, label), sign * spent[kind])
        use = "verification" if is_verification(batch.job_id) else label
        charged = Charged(month, batch.job_id, batch.node_id, *labels, use)
        sums.use(charged, Charge.of(seconds, spent), sign)


_SPENT = ("joules", "cost", "electricity", "volunteered")
