"""Metrics about nodes: readings from their last heartbeats; nodes behind a NAT cannot be scraped directly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from statistics import median

from common.states import NodeState
from coordinator.ledger import FleetReadings, Totals
from coordinator.metrics.families import gauge


def fleet_metrics(totals: Totals, fleet: FleetReadings) -> Iterator[str]:
    classes = sorted({vram_class for vram_class, _ in totals.nodes})
    shown = [state.value for state in NodeState if state is not NodeState.FORGOTTEN]
    states = {(vram_class, state): 0 for vram_class in classes for state in shown}
    yield gauge("farm_nodes", "Nodes by state.", ("vram_class", "state"), states | totals.nodes)
    yield from _heartbeats(fleet)
    yield from _facts(fleet)
    yield gauge(
        "farm_node_speed_ratio",
        "Speed of a node at a model, as a multiple of the median of the nodes with such a card.",
        ("node", "model"),
        speed_ratios((one.node.id, one.node.card.name, one.node.speeds) for one in fleet.nodes),
    )
    slow = {(node, model): path.rate for node, paths in fleet.slow.items() for model, path in paths.items()}
    text = "Rate of a node that is much slower than expected, as a share of the expected rate."
    yield gauge("farm_node_slow_path_ratio", text, ("node", "model"), slow)


def _heartbeats(fleet: FleetReadings) -> Iterator[str]:
    by_node = ("node",)
    watts = {one.node.id: one.watts for one in fleet.present if one.watts is not None}
    yield gauge("farm_node_watts", "Power draw of the card in watts.", by_node, watts)
    celsius = {one.node.id: one.temperature_c for one in fleet.present if one.temperature_c is not None}
    text = "Temperature of the card in degrees Celsius."
    yield gauge("farm_node_temperature_celsius", text, by_node, celsius)
    seen = {one.node.id: one.seen_at for one in fleet.nodes}
    yield gauge("farm_node_seen_timestamp_seconds", "Time of the last heartbeat.", by_node, seen)


def _facts(fleet: FleetReadings) -> Iterator[str]:
    vram = {one.node.id: one.node.card.usable_bytes for one in fleet.nodes}
    yield gauge("farm_node_vram_bytes", "Video memory of the card that the farm can use.", ("node",), vram)
    facts = {
        (node.id, owner, node.terms, node.card.name, node.vram_class, node.state): 1
        for node, owner, *_ in fleet.nodes
    }
    labels = ("node", "owner", "terms", "card", "vram_class", "state")
    yield gauge("farm_node_info", "Facts about a node; 1.", labels, facts)
    loaded = {(one.node.id, model): 1 for one in fleet.present if (model := one.node.loaded[0])}
    yield gauge("farm_node_loaded_model", "Model that a node has loaded; 1.", ("node", "model"), loaded)


def speed_ratios(nodes: Iterable[tuple[str, str, Mapping[str, float]]]) -> dict[tuple[str, str], float]:
    """By node and model; nodes are given with their card, and with seconds by model."""
    alike: dict[tuple[str, str], dict[str, float]] = {}
    for node_id, card, speeds in nodes:
        for model, seconds in speeds.items():
            if seconds > 0:
                alike.setdefault((card, model), {})[node_id] = seconds
    return {
        (node_id, model): usual / seconds
        for (_, model), times in alike.items()
        for usual in (median(times.values()),)
        for node_id, seconds in times.items()
    }
