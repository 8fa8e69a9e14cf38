"""`/metrics`: totals of the ledger, read at each scrape, so that counters survive restarts.

Follows the conventions of Prometheus: base units, `_total`, timestamps instead of ages. No label grows with
the work (never a job, shot or image); `node` labels gauges only. Cost per image is a ratio of two counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from common.celeryapp import Publisher
from common.errors import FarmError
from common.nodes import queue_name
from common.views import NodeView
from coordinator.calls.traffic import Traffic
from coordinator.ledger import Ledger, Totals, WorkLabels

_WORK = ("model", "lane", "vram_class")


class FarmCollector(Collector):
    """Each scrape reads the ledger once and asks the broker once for the lengths of its queues."""

    def __init__(self, ledger: Ledger, publisher: Publisher, traffic: Traffic, *, currency: str) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._traffic = traffic
        self._currency = currency

    def collect(self) -> Iterator[Metric]:
        totals = self._ledger.totals()
        yield from _work(totals)
        nodes = self._ledger.nodes()
        served = {(lane, node.vram_class) for node in nodes for lane in node.lanes}
        yield from _backlog(totals, sorted({*totals.waiting, *totals.running, *served}))
        yield from _nodes(nodes)
        yield from self._traffic.collect()
        yield self._tickets(totals, nodes)
        yield InfoMetricFamily("farm_money", "Currency of all costs.", value={"currency": self._currency})

    def _tickets(self, totals: Totals, nodes: list[NodeView]) -> Metric:
        """Tickets per queue; no samples while the broker is unavailable."""
        served = {(lane, node.vram_class) for node in nodes for lane in node.lanes}
        queues = sorted({*totals.waiting, *totals.running, *served})
        try:
            lying = self._publisher.depths([queue_name(*queue) for queue in queues]) if queues else {}
        except FarmError:
            return _gauge("farm_tickets", "Tickets on the queue.", ("lane", "vram_class"), {})
        depths = {queue: lying[queue_name(*queue)] for queue in queues}
        return _gauge("farm_tickets", "Tickets on the queue.", ("lane", "vram_class"), depths)


def _work(totals: Totals) -> Iterator[Metric]:
    yield _counter("farm_images", "Attempts by outcome.", (*_WORK, "outcome"), totals.attempts)
    yield _counter(
        "farm_attempts", "Attempts by kind of failure; empty for none.", ("failure",), totals.failures
    )
    yield _counter("farm_cost", "Costs of the farm.", (*_WORK, "kind"), totals.cost | _idle(totals.idle_cost))
    yield _counter(
        "farm_volunteer_cost", "Electricity paid by volunteers.", (*_WORK, "kind"), totals.volunteer_cost
    )
    yield _counter("farm_energy_joules", "Energy of the cards.", (*_WORK, "method"), totals.joules)
    on_card = {key: value for key, value in totals.seconds.items() if key[1] != "ingest"}
    yield _counter(
        "farm_gpu_seconds",
        "Time of the cards by phase.",
        (*_WORK, "phase"),
        on_card | _idle(totals.idle_seconds),
    )
    ingest = {labels: value for (labels, phase), value in totals.seconds.items() if phase == "ingest"}
    yield _counter("farm_ingest_seconds", "Time of ingest, which uses no card.", _WORK, ingest)
    yield _counter(
        "farm_idle_energy_joules", "Energy of nodes without a lease.", ("vram_class",), totals.idle_joules
    )
    rejected, wasted = totals.rejected_images, totals.rejected_cost
    yield _counter(
        "farm_rejected_images", "Stored images rejected by all jobs that had them.", _WORK, rejected
    )
    yield _counter(
        "farm_rejected_images_cost", "Cost of rejected images, included in farm_cost.", _WORK, wasted
    )
    yield _counter("farm_model_loads", "Pipelines loaded.", _WORK, totals.loads)


def _idle(by_class: dict[int, float]) -> dict[tuple[WorkLabels, str], float]:
    """Time or cost of idle nodes by VRAM class, with empty model and lane."""
    return {(WorkLabels("", "", vram_class), "idle"): value for vram_class, value in by_class.items()}


def _backlog(totals: Totals, queues: Sequence[tuple[str, int]]) -> Iterator[Metric]:
    by_queue = ("lane", "vram_class")
    demand = {queue: totals.waiting.get(queue, 0) + totals.running.get(queue, 0) for queue in queues}
    yield _gauge(
        "farm_demand_shots",
        "Waiting shots, by the smallest class that can render them, plus running shots, by the class of "
        "their node; 0 where nothing is to be done. Scale pools of nodes by it.",
        by_queue,
        demand,
    )
    yield _gauge(
        "farm_queue_depth",
        "Waiting shots, by the smallest class that can render them.",
        by_queue,
        totals.waiting,
    )
    yield _gauge(
        "farm_oldest_waiting_timestamp_seconds",
        "Time since which the oldest shot has been waiting.",
        by_queue,
        totals.oldest_waiting,
    )
    yield _gauge("farm_running_shots", "Running shots.", by_queue, totals.running)
    yield _gauge("farm_nodes", "Nodes by state.", ("vram_class", "state"), totals.nodes)


def _nodes(nodes: list[NodeView]) -> Iterator[Metric]:
    """Readings from the last heartbeat of each node; nodes behind a NAT cannot be scraped directly."""
    readings: dict[str, tuple[str, Callable[[NodeView], float | None]]] = {
        "farm_node_watts": ("Power draw of the card in watts.", lambda node: node.watts),
        "farm_node_temperature_celsius": (
            "Temperature of the card in degrees Celsius.",
            lambda node: node.temperature_c,
        ),
        "farm_node_seen_timestamp_seconds": ("Time of the last heartbeat.", lambda node: node.seen_at),
    }
    for name, (text, reading) in readings.items():
        values = {node.name: value for node in nodes if (value := reading(node)) is not None}
        yield _gauge(name, text, ("node",), values)
    slow = {(node.name, path.model): path.rate for node in nodes for path in node.slow_paths}
    text = "Rate of a node that is much slower than expected, as a share of the expected rate."
    yield _gauge("farm_node_slow_path_ratio", text, ("node", "model"), slow)


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(_label_values(key), value)
    return family


def _label_values(key: object) -> list[str]:
    """Flattens a key such as `(WorkLabels(...), "stored")` or `("public", 8)` into label values, in order."""
    if isinstance(key, tuple):
        return [text for part in key for text in _label_values(part)]
    return [str(key)]
