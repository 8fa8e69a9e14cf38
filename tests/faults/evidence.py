"""All that is left after a run under faults: ledger, event log, store, and what was done and seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Executable, func, select

from common.settings import Settings
from coordinator.client import FarmClient
from coordinator.ledger.schema import (
    attempts,
    batches,
    deleted_images,
    events,
    images,
    jobs,
    monthly_charges,
    nodes,
    removals,
    shots,
    standings,
    verifications,
    wants,
)
from tests.faults.target import Target
from tests.faults.watch import Watch

Row = dict[str, Any]

_STALL = re.compile(r"(\S+ \S+) WARNING coordinator\.ledger\.sweep: the last sweep was (\d+\.\d) s ago")
_WORK = (jobs, shots, wants, removals, batches, attempts, images, deleted_images, events)
_TABLES = (*_WORK, nodes, standings, verifications, monthly_charges)
#: Idle seconds of each node, and how many of them are on bills: in one statement, as they grow.
_BILLED = func.coalesce(func.sum(monthly_charges.c.seconds), 0.0)
_IDLE = select(
    nodes.c.id,
    nodes.c.idle_s,
    select(_BILLED)
    .where(monthly_charges.c.node_id == nodes.c.id, monthly_charges.c.use == "idle")
    .scalar_subquery()
    .label("billed_s"),
)


class Farm(Protocol):
    """Whatever runs a ledger and an API."""

    def settings(self) -> Settings: ...

    def client(self) -> FarmClient: ...

    def rows(self, query: Executable) -> list[Row]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Felled:
    """A node that died or fell silent."""

    node: str
    #: Seconds since 1970.
    at: float
    by: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    #: Table to its rows; `idle` is of `_IDLE`.
    tables: dict[str, list[Row]]
    #: Key to metadata of every stored picture.
    pictures: dict[str, dict[str, str]]
    #: Key to creation, seconds since 1970.
    created: dict[str, float]
    #: Keys left in quarantine.
    quarantine: list[str]
    #: Keys whose object changed while it was watched.
    changed: set[str]
    #: From and to when the coordinator did not answer, or did not sweep.
    outages: list[tuple[float, float]]
    felled: list[Felled]
    #: What the API says that all jobs have cost.
    told_cost: float
    #: How attempts ended to how many such ends of the event log the farm's metrics do not have.
    uncounted: Counter[str]
    #: From and to when the store was in trouble.
    store_outages: Sequence[tuple[float, float]] = ()
    #: From and to when the gateway did not answer.
    gateway_outages: Sequence[tuple[float, float]] = ()
    #: Keys whose object vanished while it was watched.
    gone: Set[str] = frozenset()
    #: Shots of which a node says itself that it drew something else.
    lies: Set[str] = frozenset()
    #: Seconds that a model may load without a sign.
    stall_load_s: float = 0.0

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
    def submitted(self) -> set[str]:
        """Shots of all jobs whose submission was not cut off."""
        jobs_of_people = (job for job in self.tables["jobs"] if job["verifies"] is None)
        whole = {job["id"] for job in jobs_of_people if job["complete"]}
        return {want["shot_id"] for want in self.tables["wants"] if want["job_id"] in whole}

    @cached_property
    def images(self) -> dict[str, Row]:
        """By shot."""
        return {image["shot_id"]: image for image in self.tables["images"]}

    @cached_property
    def volunteers(self) -> dict[str, Row]:
        """By name."""
        return {node["id"]: node for node in self.tables["nodes"] if node["terms"] == "volunteer"}

    def paid(self, row: Row, prefix: str = "") -> float:
        """What an attempt or a batch cost, or the volunteer whose node it was."""
        return float(row[f"{prefix}volunteered" if row["node_id"] in self.volunteers else f"{prefix}cost"])


def gather(target: Target, watch: Watch, felled: list[Felled]) -> Evidence:
    """Once the farm is at rest and still runs."""
    created = watch.look()
    client, bucket = target.store()
    pictures = {key: client.head_object(Bucket=bucket, Key=key)["Metadata"] for key in created}
    return evidence_of(
        target,
        pictures=pictures,
        created={key: at for key, (_, at) in created.items()},
        quarantine=list(target.objects("quarantine/")),
        changed=watch.changed,
        gone=watch.gone,
        gateway_outages=watch.gateway_outages,
        outages=sorted([*watch.outages, *_stalls(target)]),
        felled=felled,
    )


def evidence_of(farm: Farm, **seen: Any) -> Evidence:
    """What ledger, event log and API of any farm tell, beside what was `seen` of its store and its parts."""
    with farm.client() as client:
        told_cost = sum(client.job(job.id).cost for job in client.jobs())
    tables = {table.name: farm.rows(select(table)) for table in _TABLES} | {"idle": farm.rows(_IDLE)}
    attempts = (attempt for attempt in tables["attempts"] if attempt["state"] not in ("running", "delivered"))
    # Metrics tell those that no job wanted any more from failures.
    ended = Counter("cancelled" if one["failure"] == "cancelled" else one["state"] for one in attempts)
    # Asked last: what ends meanwhile is counted too much, never too little.
    return Evidence(tables=tables, told_cost=told_cost, uncounted=ended - _counted(farm), **seen)


def _counted(farm: Farm) -> Counter[str]:
    """Attempts by how they ended, as the farm's metrics count them."""
    settings = farm.settings()
    assert settings.keys.operator is not None
    headers = {"authorization": f"Bearer {settings.keys.operator.get_secret_value()}"}
    answer = httpx.get(f"{settings.api_url}/metrics", headers=headers, timeout=20, trust_env=False)
    counted: Counter[str] = Counter()
    for metric in text_string_to_metric_families(answer.raise_for_status().text):
        if metric.name == "farm_images":
            for sample in metric.samples:
                counted[sample.labels["outcome"]] += int(sample.value)
    return counted


def _stalls(target: Target) -> Iterator[tuple[float, float]]:
    """From and to when the coordinator got no processor and did not sweep; it says so and begins a grace."""
    for line in (target.home.logs / "coordinator.log").read_text(errors="replace").splitlines():
        if found := _STALL.match(line):
            end = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
            yield end - float(found[2]), end
