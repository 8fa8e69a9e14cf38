"""Charges of one transaction: what nodes took, by month and use, for bills.

An attempt is charged when it is settled, because only then it is known what it was good for; a batch when it
is closed, idle time with each heartbeat. A month therefore lags behind the costs of its jobs by what is in
hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from common.states import AttemptState
from coordinator.ledger.database import add_to
from coordinator.ledger.schema import jobs, monthly_charges


def utc_month(at: float) -> str:
    """
    >>> utc_month(1793404800.0)
    '2026-10'
    """
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m}"


class Charged(NamedTuple):
    """Who is charged for what."""

    month: str
    #: Empty for idle time.
    job_id: str
    node_id: str
    model: str
    lane: str
    vram_class: int
    #: As in `schema.monthly_charges`.
    use: str


class Charge(NamedTuple):
    images: int = 0
    #: Those of the images that a person rejected.
    rejected: int = 0
    seconds: float = 0.0
    joules: float = 0.0
    #: To the farm; `electricity` and `storage` are parts of it.
    cost: float = 0.0
    electricity: float = 0.0
    #: Electricity paid by volunteers.
    volunteered: float = 0.0
    storage: float = 0.0

    @classmethod
    def of(cls, seconds: float, spent: Mapping[str, float]) -> Charge:
        """`spent` has the columns of `schema.money`."""
        return cls(
            seconds=seconds,
            joules=spent["joules"],
            cost=spent["cost"],
            electricity=spent["electricity"],
            volunteered=spent["volunteered"],
        )

    def plus(self, other: Charge, sign: int = 1) -> Charge:
        return Charge._make(mine + sign * its for mine, its in zip(self, other, strict=True))


_NOTHING = Charge()


@dataclass(slots=True)
class Charges:
    sums: dict[Charged, Charge] = field(default_factory=dict)

    def copy(self) -> Charges:
        return Charges(self.sums.copy())

    def add(self, charged: Charged, charge: Charge, sign: int = 1) -> None:
        if charge != _NOTHING:
            self.sums[charged] = self.sums.get(charged, _NOTHING).plus(charge, sign)

    def write(self, connection: Connection) -> None:
        if not self.sums:
            return
        paying = {charged.job_id for charged in self.sums if charged.job_id}
        query = select(jobs.c.id, jobs.c.owner).where(jobs.c.id.in_(paying))
        owners = {row.id: row.owner for row in connection.execute(query)} if paying else {}
        # Jobs of one owner share a row.
        merged = Charges()
        for charged, charge in self.sums.items():
            merged.add(charged._replace(job_id=owners.get(charged.job_id, "")), charge)
        rows = []
        for charged, charge in merged.sums.items():
            key = charged._asdict()
            rows.append({"owner": key.pop("job_id"), **key, **charge._asdict()})
        add_to(connection, monthly_charges, _KEY, Charge._fields, rows)


_KEY = ("month", "owner", "node_id", "model", "lane", "vram_class", "use")


#: What IDs of jobs begin with that render images of volunteers again.
VERIFYING = "v-"


def is_verification(job_id: str) -> bool:
    """Whether a job renders images of volunteers again, to be compared."""
    return job_id.startswith(VERIFYING)


def use_of(job_id: str, state: str, failure: str) -> str:
    """What the time of an attempt was used for; of an upload that waits for its check, what it is for."""
    if is_verification(job_id):
        return "verification"
    if failure == "cancelled":
        return "cancelled"
    match state:
        case AttemptState.STORED | AttemptState.DELIVERED:
            return "image"
        case AttemptState.FAILED | AttemptState.REJECTED:
            return "failed"
        case AttemptState.WASTED:
            return "duplicate"
    return "lost"
