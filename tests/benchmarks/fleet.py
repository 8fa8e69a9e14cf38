"""Thousands of nodes at one coordinator: whether they keep their leases, and how soon they are answered."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import httpx
import psutil
import yaml
from sqlalchemy import text

from common.settings import Settings
from common.views import Submit
from coordinator.client import FarmClient
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Child, Component
from coordinator.ledger import open_engine
from tests.benchmarks.figures import Figure
from tests.benchmarks.manifests import ranged
from tests.benchmarks.simulated_fleet import Record, simulate
from tests.postgres import running_postgres
from tests.programs import own_environment
from tests.servers import running_valkey
from tests.waiting import until

FLEETS = (200, 2000)
PICTURES_A_SECOND = 50
#: What is measured, once all nodes have joined and had time for their first pictures.
SECONDS = 120.0
_KEYS = {role: f"{role}-key" for role in ("operator", "node", "ingest", "ticket")}
_READY_WITHIN_S = 120


class Course(NamedTuple):
    """What a fleet met."""

    record: Record
    #: Leases that the farm counts as expired or as given up with their node.
    lost: int
    #: Of the measured time, as a share of one core.
    coordinator_cores: float
    #: The same of all simulated nodes: near 1, they and not the farm are slow.
    nodes_cores: float
    #: Reported in the measured time.
    pictures: int
    seconds: float


@dataclass(frozen=True)
class Coordinator:
    settings: Settings
    child: Child

    def cpu_s(self) -> float:
        assert self.child.pid is not None
        used = psutil.Process(self.child.pid).cpu_times()
        return float(used.user + used.system)

    def lost_leases(self) -> int:
        query = "SELECT count(*) FROM batches WHERE outcome IN ('expired', 'vanished')"
        engine = open_engine(self.settings.database)
        try:
            with engine.begin() as connection:
                return int(connection.execute(text(query)).scalar_one())
        finally:
            engine.dispose()


def measure() -> Iterator[Figure]:
    for nodes in FLEETS:
        yield from figures(nodes, met(nodes, seconds=SECONDS))


def figures(nodes: int, course: Course) -> Iterator[Figure]:
    fleet, record = f"{nodes:,} nodes", course.record
    kept = 1 - max(course.lost, record.lost) / max(record.leases, 1)
    yield Figure(name=f"{fleet}: leases", value=record.leases, unit="leases")
    yield Figure(name=f"{fleet}: leases kept / given", value=kept, at_least=1)
    yield Figure(
        name=f"{fleet}: pictures",
        value=course.pictures / course.seconds,
        unit="1/s",
        at_least=0.95 * PICTURES_A_SECOND,
    )
    yield Figure(name=f"{fleet}: claim, median", value=_percentile(record.claims, 50), unit="ms")
    yield Figure(name=f"{fleet}: claim, 95th percentile", value=_percentile(record.claims, 95), unit="ms")
    yield Figure(name=f"{fleet}: heartbeat, 99th percentile", value=_percentile(record.beats, 99), unit="ms")
    yield Figure(name=f"{fleet}: calls refused and repeated", value=record.refused, unit="calls")
    yield Figure(name=f"{fleet}: coordinator", value=course.coordinator_cores, unit="cores")
    yield Figure(name=f"{fleet}: all simulated nodes", value=course.nodes_cores, unit="cores")


def _percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds; NaN where next to nothing was answered."""
    return 1000 * quantiles(seconds, n=100)[percent - 1] if len(seconds) > 1 else nan


def met(nodes: int, *, seconds: float) -> Course:
    """What so many nodes meet at a coordinator on PostgreSQL and Valkey that has nothing else to do."""
    with tempfile.TemporaryDirectory() as folder, coordinator_process(Path(folder)) as coordinator:
        settings = coordinator.settings
        with FarmClient(settings.api_url, _KEYS["operator"]) as operator:
            # Twice of what is rendered, and what all nodes hold.
            shots = int(2 * min(PICTURES_A_SECOND, 150) * seconds) + 50 * nodes
            operator.submit(Submit(manifest=ranged(shots), source="fleet.yaml"))
        return asyncio.run(_course(coordinator, nodes, seconds))


async def _course(coordinator: Coordinator, nodes: int, seconds: float) -> Course:
    settings = coordinator.settings
    async with simulate(settings.api_url, settings.broker_url, nodes, PICTURES_A_SECOND) as fleet:
        await fleet.warm()
        record = fleet.begin()
        theirs, own, begin = coordinator.cpu_s(), time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        lasted = time.monotonic() - begin
        return Course(
            record=record,
            lost=coordinator.lost_leases(),
            coordinator_cores=(coordinator.cpu_s() - theirs) / lasted,
            nodes_cores=(time.process_time() - own) / lasted,
            pictures=record.pictures,
            seconds=lasted,
        )


@contextmanager
def coordinator_process(folder: Path) -> Iterator[Coordinator]:
    """A process with keys, PostgreSQL and Valkey of its own; its store stays empty."""
    with running_postgres() as socket, running_valkey(folder / "valkey") as valkey:
        given: dict[str, Any] = {
            "home": str(folder),
            "database_url": f"postgresql://farm@/postgres?host={socket}",
            "broker_url": valkey.url,
            "port": kept_ports(folder / "ports", ("coordinator",))["coordinator"],
            "keys": _KEYS,
            "max_images": 1_000_000,
            "storage": {"url": f"file:{folder / 'pictures'}"},
        }
        (folder / "farm.yaml").write_text(yaml.safe_dump(given))
        component = Component(name="coordinator", command=(sys.executable, "-m", "coordinator.service"))
        child = Child(component, folder / "log", folder, own_environment())
        settings = Settings.model_validate(given)
        child.start()
        try:
            until(lambda: _answers(settings), within_s=_READY_WITHIN_S, evidence=child.log.read_text)
            yield Coordinator(settings, child)
        finally:
            child.ask_to_stop()
            child.wait(10)


def _answers(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.api_url}/healthz", trust_env=False).is_success
    except httpx.HTTPError:
        return False
