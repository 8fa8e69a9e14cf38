"""Metrics about nodes: readings from their last heartbeats; nodes behind a NAT cannot be scraped directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from prometheus_client.core import Metric

from common.states import NodeState
from common.views import NodeView
from coordinator.ledger import Totals
from coordinator.metrics.families import gauge


def fleet_metrics(totals: Totals, nodes: Sequence[NodeView]) -> Iterator[Metric]:
    classes = {vram_class for vram_class, _ in totals.nodes}
    states = {(vram_class, state.value): 0 for vram_class in sorted(classes) for state in NodeState}
    yield gauge("farm_nodes", "Nodes by state.", ("vram_class", "state"), states | totals.nodes)
    readings: dict[str, tuple[str, Callable[[NodeView], float | None]]] = {
        "farm_node_watts": ("Power draw of the card in watts.", lambda node: node.watts),
        "farm_node_temperature_celsius": (
            "Temperature of the card in degrees Celsius.",
            lambda node: node.temperature_c,
        ),
        "farm_node_vram_bytes": (
            "Video memory of the card that the farm can use.",
            lambda node: node.facts.usable_bytes,
        ),
        "farm_node_seen_timestamp_seconds": ("Time of the last heartbeat.", lambda node: node.seen_at),
    }
    for name, (text, reading) in readings.items():
        values = {node.name: value for node in nodes if (value := reading(node)) is not None}
        yield gauge(name, text, ("node",), values)
    facts = {(n.name, n.owner, n.terms, n.card, n.vram_class, n.state): 1 for n in nodes}
    labels = ("node", "owner", "terms", "card", "vram_class", "state")
    yield gauge("farm_node_info", "Facts about a node; 1.", labels, facts)
    loaded = {(node.name, node.loaded_model): 1 for node in nodes if node.loaded_model}
    yield gauge("farm_node_loaded_model", "Model that a node has loaded; 1.", ("node", "model"), loaded)
    yield gauge(
        "farm_node_speed_ratio",
        "Speed of a node at a model, as a multiple of the median of the nodes with such a card.",
        ("node", "model"),
        speed_ratios(nodes),
    )
    slow = {(node.name, path.model): path.rate for node in nodes for path in node.slow_paths}
    text = "Rate of a node that is much slower than expected, as a share of the expected rate."
    yield gauge("farm_node_slow_path_ratio", text, ("node", "model"), slow)


def speed_ratios(nodes: Sequence[NodeView]) -> dict[tuple[str, str], float]:
    """By node and model."""
    alike: dict[tuple[str, str], list[float]] = {}
    for node in nodes:
        for model, seconds in node.speeds.items():
            alike.setdefault((node.card, model), []).append(seconds)
    usual = {kind: median(seconds) for kind, seconds in alike.items()}
    return {
        (node.name, model): usual[node.card, model] / seconds
        for node in nodes
        for model, seconds in node.speeds.items()
        if seconds > 0
    }
