"""`/metrics`: the ledger's accounts, read when they are scraped, so that counters survive restarts.

Prometheus' rules: base units, `_total`, timestamps instead of ages, and no label that grows with the
work: never a job, shot or image; `node` on gauges only. Cost per image is a ratio of two counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from common.celeryapp import Publisher
from common.errors import FarmError
from common.nodes import queue_name
from common.views import NodeView
from coordinator.http.traffic import Traffic
from coordinator.ledger import Ledger, Totals, WorkLabels

_WORK = ("model", "lane", "vram_class")


class FarmCollector(Collector):
    """One scrape is one reading of the ledger and one question to the broker."""

    def __init__(self, ledger: Ledger, publisher: Publisher, traffic: Traffic, *, currency: str) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._traffic = traffic
        self._currency = currency

    def collect(self) -> Iterator[Metric]:
        totals = self._ledger.totals()
        yield from _work(totals)
        yield from _backlog(totals)
        nodes = self._ledger.nodes()
        yield from _nodes(nodes)
        yield from self._traffic.collect()
        yield self._tickets(totals, nodes)
        yield InfoMetricFamily("farm_money", "Currency of every cost.", value={"currency": self._currency})

    def _tickets(self, totals: Totals, nodes: list[NodeView]) -> Metric:
        """No samples while the broker is away: the number is not known then."""
        served = {(lane, node.vram_class) for node in nodes for lane in node.lanes}
        queues = sorted({*totals.waiting, *totals.running, *served})
        try:
            lying = self._publisher.depths([queue_name(*queue) for queue in queues]) if queues else {}
        except FarmError:
            return _gauge("farm_tickets", "Tickets that lie on a queue.", ("lane", "vram_class"), {})
        depths = {queue: lying[queue_name(*queue)] for queue in queues}
        return _gauge("farm_tickets", "Tickets that lie on a queue.", ("lane", "vram_class"), depths)


def _work(totals: Totals) -> Iterator[Metric]:
    yield _counter("farm_images", "Attempts by how they ended.", (*_WORK, "outcome"), totals.attempts)
    yield _counter("farm_attempts", "Attempts by failure; an empty one: none.", ("failure",), totals.failures)
    yield _counter("farm_cost", "Money spent.", (*_WORK, "kind"), totals.cost | _idle(totals.idle_cost))
    yield _counter(
        "farm_volunteer_cost", "Electricity that volunteers paid.", (*_WORK, "kind"), totals.volunteer_cost
    )
    yield _counter("farm_energy_joules", "Energy of the cards.", (*_WORK, "method"), totals.joules)
    on_card = {key: value for key, value in totals.seconds.items() if key[1] != "ingest"}
    yield _counter(
        "farm_gpu_seconds",
        "Seconds of the cards by phase.",
        (*_WORK, "phase"),
        on_card | _idle(totals.idle_seconds),
    )
    ingest = {labels: value for (labels, phase), value in totals.seconds.items() if phase == "ingest"}
    yield _counter("farm_ingest_seconds", "Seconds of ingest, on no card.", _WORK, ingest)
    yield _counter(
        "farm_idle_energy_joules", "Energy of nodes without a lease.", ("vram_class",), totals.idle_joules
    )
    rejected, wasted = totals.rejected_images, totals.rejected_cost
    yield _counter("farm_rejected_images", "Stored pictures that a person rejected.", _WORK, rejected)
    yield _counter("farm_rejected_images_cost", "What they had cost.", _WORK, wasted)
    yield _counter("farm_model_loads", "Pipelines loaded.", _WORK, totals.loads)


def _idle(by_class: dict[int, float]) -> dict[tuple[WorkLabels, str], float]:
    """What nodes without a lease took, as work of no model and no lane."""
    return {(WorkLabels("", "", vram_class), "idle"): value for vram_class, value in by_class.items()}


def _backlog(totals: Totals) -> Iterator[Metric]:
    by_queue = ("lane", "vram_class")
    yield _gauge("farm_queue_depth", "Shots that wait, by their smallest class.", by_queue, totals.waiting)
    yield _gauge(
        "farm_oldest_waiting_timestamp_seconds",
        "Since when the oldest shot waits.",
        by_queue,
        totals.oldest_waiting,
    )
    yield _gauge("farm_running_shots", "Shots in a batch.", by_queue, totals.running)
    yield _gauge("farm_nodes", "Nodes.", ("vram_class", "state"), totals.nodes)


def _nodes(nodes: list[NodeView]) -> Iterator[Metric]:
    """What the nodes' heartbeats said: nodes behind NAT cannot be scraped."""
    readings: dict[str, tuple[str, Callable[[NodeView], float | None]]] = {
        "farm_node_watts": ("Draw of the card.", lambda node: node.watts),
        "farm_node_temperature_celsius": ("Temperature of the card.", lambda node: node.temperature_c),
        "farm_node_seen_timestamp_seconds": ("When the node was last heard of.", lambda node: node.seen_at),
    }
    for name, (text, reading) in readings.items():
        values = {node.name: value for node in nodes if (value := reading(node)) is not None}
        yield _gauge(name, text, ("node",), values)


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(_label_values(key), value)
    return family


def _label_values(key: object) -> list[str]:
    """`(WorkLabels(...), "stored")`, `("public", 8)` or `8`, flattened in order."""
    if isinstance(key, tuple):
        return [text for part in key for text in _label_values(part)]
    return [str(key)]
