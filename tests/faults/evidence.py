"""All that is left after a run under faults: ledger, event log, store, and what was done and seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import select

from coordinator.ledger.schema import attempts, batches, events, images, jobs, nodes, shots, wants
from tests.faults.target import Target
from tests.faults.watch import Watch

Row = dict[str, Any]

_STALL = re.compile(r"(\S+ \S+) WARNING coordinator\.ledger\.sweep: the last sweep was (\d+\.\d) s ago")
_TABLES = (jobs, shots, wants, nodes, batches, attempts, images, events)


@dataclass(frozen=True, kw_only=True, slots=True)
class Felled:
    """A node that died or fell silent."""

    node: str
    #: Seconds since 1970.
    at: float
    by: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    #: Table to its rows.
    tables: dict[str, list[Row]]
    #: Key to metadata of every stored picture.
    pictures: dict[str, dict[str, str]]
    #: Key to creation, seconds since 1970.
    created: dict[str, float]
    #: Keys left in quarantine.
    quarantine: list[str]
    #: Keys whose object changed or vanished while it was watched.
    changed: set[str]
    #: From and to when the coordinator did not answer, or did not sweep.
    outages: list[tuple[float, float]]
    felled: list[Felled]
    #: What the API says that all jobs have cost.
    told_cost: float
    #: From and to when the store was in trouble.
    store_outages: Sequence[tuple[float, float]] = ()

    @cached_property
    def intents(self) -> dict[str, str]:
        return {job["id"]: job["intent"] for job in self.tables["jobs"]}

    @cached_property
    def wanted(self) -> set[str]:
        """Shots that a job which is not cancelled wants."""
        return {
            want["shot_id"] for want in self.tables["wants"] if self.intents[want["job_id"]] != "cancelled"
        }

    @cached_property
    def images(self) -> dict[str, Row]:
        """By shot."""
        return {image["shot_id"]: image for image in self.tables["images"]}


def gather(target: Target, watch: Watch, felled: list[Felled]) -> Evidence:
    """Once the farm is at rest and still runs."""
    created = watch.look()
    client, bucket = target.store()
    with closing(client):
        pictures = {key: client.head_object(Bucket=bucket, Key=key)["Metadata"] for key in created}
    with target.client() as farm:
        told_cost = sum(farm.job(job.id).cost for job in farm.jobs())
    return Evidence(
        tables={table.name: target.rows(select(table)) for table in _TABLES},
        pictures=pictures,
        created={key: at for key, (_, at) in created.items()},
        quarantine=list(target.objects("quarantine/")),
        changed=watch.changed,
        outages=sorted([*watch.outages, *_stalls(target)]),
        felled=felled,
        told_cost=told_cost,
    )


def _stalls(target: Target) -> Iterator[tuple[float, float]]:
    """From and to when the coordinator got no processor and did not sweep; it says so and begins a grace."""
    for line in (target.home.logs / "coordinator.log").read_text(errors="replace").splitlines():
        if found := _STALL.match(line):
            end = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
            yield end - float(found[2]), end
