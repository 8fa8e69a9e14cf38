"""`/metrics`: totals of the ledger, read at each scrape, so that counters survive restarts.

Follows the conventions of Prometheus: base units, `_total`, timestamps instead of ages. No label grows with
the work (never a job, shot or image); `node` and `key` label gauges only. Cost per image is a ratio of two
counters. Series begin at 0 when the first batch of their labels is leased, so that no increase is missed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import generate_latest

from common.bill import reference_prices
from common.celeryapp import Publisher
from common.errors import FarmError
from common.nodes import queue_name
from coordinator.calls.stages import Stages
from coordinator.calls.traffic import Traffic
from coordinator.ledger import Ledger, NodeReading, Totals
from coordinator.metrics.families import gauge
from coordinator.metrics.fleet import fleet_metrics
from coordinator.metrics.work import backlog_metrics, work_metrics


@dataclass(frozen=True, eq=False, slots=True)
class FarmCollector:
    """Each scrape reads the ledger once and asks the broker once for the lengths of its queues."""

    ledger: Ledger
    publisher: Publisher
    traffic: Traffic
    stages: Stages
    currency: str
    #: The folder of the farm's data, whose disk is watched.
    home: Path
    #: Seconds since 1970.
    started_at: float

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        of_process = (generate_latest(part) for part in (self.traffic, self.stages))
        return b"".join(("".join(self._families()).encode(), *of_process))

    def _families(self) -> Iterator[str]:
        totals = self.ledger.accounts.totals()
        yield from work_metrics(totals)
        fleet = self.ledger.nodes.readings()
        yield from backlog_metrics(totals, fleet.nodes)
        yield gauge(
            "farm_incident",
            "1 while the farm is disturbed (stopped, stalled, or without its store) and blames no node.",
            (),
            {(): int(self.ledger.in_incident())},
        )
        yield from fleet_metrics(totals, fleet)
        yield self._tickets(totals, fleet.nodes)
        yield from self._disk()
        text = "When the coordinator started."
        yield gauge("farm_started_timestamp_seconds", text, (), {(): self.started_at})
        yield gauge("farm_money_info", "Currency of all costs; 1.", ("currency",), {self.currency: 1})
        yield _references()

    def _tickets(self, totals: Totals, nodes: Sequence[NodeReading]) -> str:
        """Tickets per queue; no samples while the broker is unavailable."""
        served = {(lane, one.node.vram_class) for one in nodes for lane in one.node.lanes}
        queues = sorted({*totals.waiting, *totals.running, *served})
        try:
            lying = self.publisher.depths([queue_name(*queue) for queue in queues]) if queues else {}
        except FarmError:
            return gauge("farm_tickets", "Tickets on the queue.", ("lane", "vram_class"), {})
        depths = {queue: lying[queue_name(*queue)] for queue in queues}
        return gauge("farm_tickets", "Tickets on the queue.", ("lane", "vram_class"), depths)

    def _disk(self) -> Iterator[str]:
        disk = shutil.disk_usage(self.home if self.home.exists() else Path())
        for name, text, size in (
            ("free", "Free space of the disk with the data of the coordinator.", disk.free),
            ("size", "Size of this disk.", disk.total),
        ):
            yield gauge(f"farm_disk_{name}_bytes", text, (), {(): size})


def _references() -> str:
    labels = ("model", "service", "per", "currency", "date")
    prices = {tuple(getattr(one, name) for name in labels): one.price for one in reference_prices()}
    return gauge("farm_reference_price", "Price of an image at a hosted service.", labels, prices)
