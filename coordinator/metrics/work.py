"""Metrics about work: images, costs, energy, time, and what waits and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from common.failures import FAILURES
from common.nodes import VRAM_CLASSES
from coordinator.ledger import NodeReading, Totals, WorkLabels
from coordinator.metrics.families import counter, gauge

_WORK = ("model", "lane", "vram_class")
_OUTCOMES = ("stored", "wasted", "rejected", "failed", "cancelled", "released")
_PHASES = ("load", "encode", "denoise", "decode", "save", "upload", "lost", "duplicate")
_COSTS = ("render", "load", "lost", "duplicate", "storage")
_USES = ("image", "failed", "cancelled", "duplicate", "load", "lost", "verification")
_METHODS = ("counter", "sampled", "estimated")
_ENDS = ("finished", "released", "failed", "oom", "expired", "vanished")

_Number = TypeVar("_Number", int, float)


def work_metrics(totals: Totals) -> Iterator[str]:
    known = sorted(totals.known)
    yield counter(
        "farm_images", "Attempts by outcome.", (*_WORK, "outcome"), _from_0(known, _OUTCOMES, totals.attempts)
    )
    failures = dict.fromkeys(("", *FAILURES), 0) | totals.failures
    yield counter("farm_attempts", "Attempts by kind of failure; empty for none.", ("failure",), failures)
    yield counter(
        "farm_batches",
        "Batches by how they ended.",
        (*_WORK, "outcome"),
        _from_0(known, _ENDS, totals.batches),
    )
    yield counter("farm_model_loads", "Pipelines loaded.", _WORK, dict.fromkeys(known, 0) | totals.loads)
    yield counter(
        "farm_rejected_images",
        "Stored images rejected by all jobs that had them.",
        _WORK,
        dict.fromkeys(known, 0) | totals.rejected_images,
    )
    yield from _costs(totals, known)
    yield from _times(totals, known)


def _costs(totals: Totals, known: Sequence[WorkLabels]) -> Iterator[str]:
    cost = _from_0(known, _COSTS, totals.cost) | _idle(totals.idle_cost)
    yield counter("farm_cost", "Costs of the farm.", (*_WORK, "kind"), cost)
    parts = _components(totals, known)
    yield counter("farm_cost_component", "The same costs by component.", (*_WORK, "component"), parts)
    by_use = _from_0(known, _USES, totals.use_cost) | _idle(totals.idle_cost)
    yield counter("farm_use_cost", "The same costs by use, of settled attempts.", (*_WORK, "use"), by_use)
    given = _from_0(known, _COSTS[:-1], totals.volunteer_cost)
    yield counter("farm_volunteer_cost", "Electricity paid by volunteers.", (*_WORK, "kind"), given)
    owners = dict.fromkeys(sorted(totals.owner_cost.keys() | totals.owner_images), 0)
    text = "The same costs by owner of the jobs, without idle nodes."
    yield counter("farm_owner_cost", text, ("owner",), owners | totals.owner_cost)
    yield counter("farm_owner_images", "Images rendered by owner.", ("owner",), owners | totals.owner_images)
    yield counter(
        "farm_rejected_images_cost",
        "Cost of rejected images, included in farm_cost.",
        _WORK,
        dict.fromkeys(known, 0.0) | totals.rejected_cost,
    )


def _components(totals: Totals, known: Sequence[WorkLabels]) -> dict[tuple[WorkLabels, str], float]:
    """Cost by labels and component; the rest, after electricity and storage, is for the cards."""
    none: dict[tuple[WorkLabels, str], float] = {}
    found = _from_0(known, ("card", "electricity", "storage"), none)
    for (labels, kind), cost in totals.cost.items():
        component = "storage" if kind == "storage" else "card"
        found[labels, component] = found.get((labels, component), 0.0) + cost
    for vram_class, cost in totals.idle_cost.items():
        found[WorkLabels("", "", vram_class), "card"] = cost
    spent = dict(totals.electricity)
    spent |= {WorkLabels("", "", size): cost for size, cost in totals.idle_electricity.items()}
    for labels, electricity in spent.items():
        found[labels, "electricity"] = electricity
        found[labels, "card"] = max(0.0, found.get((labels, "card"), 0.0) - electricity)
    return found


def _times(totals: Totals, known: Sequence[WorkLabels]) -> Iterator[str]:
    joules = _from_0(known, _METHODS, totals.joules)
    yield counter("farm_energy_joules", "Energy of the cards.", (*_WORK, "method"), joules)
    yield counter(
        "farm_idle_energy_joules", "Energy of nodes without a lease.", ("vram_class",), totals.idle_joules
    )
    on_card = {key: value for key, value in totals.seconds.items() if key[1] != "ingest"}
    idle = _idle(totals.idle_seconds)
    yield counter(
        "farm_gpu_seconds",
        "Time of the cards by phase.",
        (*_WORK, "phase"),
        _from_0(known, _PHASES, on_card) | idle,
    )
    yield counter(
        "farm_gpu_use_seconds",
        "Time that occupied the cards by use, of settled attempts.",
        (*_WORK, "use"),
        _from_0(known, _USES, totals.use_seconds) | idle,
    )
    ingest = {labels: value for (labels, phase), value in totals.seconds.items() if phase == "ingest"}
    yield counter("farm_ingest_seconds", "Time of ingest, which uses no card.", _WORK, ingest)


def _from_0(
    known: Sequence[WorkLabels],
    names: Sequence[str],
    values: Mapping[tuple[WorkLabels, str], _Number],
) -> dict[tuple[WorkLabels, str], _Number]:
    """Values by labels and name; 0 for those without one yet."""
    return {**{(labels, name): 0 for labels in known for name in names}, **values}


def _idle(by_class: dict[int, float]) -> dict[tuple[WorkLabels, str], float]:
    """Time or cost of idle nodes by VRAM class, with empty model and lane."""
    return {(WorkLabels("", "", vram_class), "idle"): value for vram_class, value in by_class.items()}


def _eligible(nodes: Sequence[NodeReading]) -> Counter[tuple[str, int]]:
    """Nodes in service by the lanes and classes whose shots they can take."""
    alike = Counter((one.node.lanes, one.node.vram_class) for one in nodes if one.node.serves)
    found: Counter[tuple[str, int]] = Counter()
    for (lanes, largest), number in alike.items():
        for vram_class in VRAM_CLASSES:
            if vram_class <= largest:
                found.update({(lane, vram_class): number for lane in lanes})
    return found


def backlog_metrics(totals: Totals, nodes: Sequence[NodeReading]) -> Iterator[str]:
    """What waits and runs, with a sample for every class of every lane."""
    by_queue = ("lane", "vram_class")
    lanes = {"public", *(lane for lane, _ in (*totals.waiting, *totals.running))}
    lanes.update(*{one.node.lanes for one in nodes})
    queues = [(lane, vram_class) for lane in sorted(lanes) for vram_class in VRAM_CLASSES]
    demand = {queue: totals.waiting.get(queue, 0) + totals.running.get(queue, 0) for queue in queues}
    yield gauge(
        "farm_demand_shots",
        "Waiting shots, by the smallest class that can render them, plus running shots, by the class of "
        "their node; 0 where nothing is to be done. Scale pools of nodes by it.",
        by_queue,
        demand,
    )
    yield gauge(
        "farm_queue_depth",
        "Waiting shots, by the smallest class that can render them.",
        by_queue,
        dict.fromkeys(queues, 0) | totals.waiting,
    )
    yield gauge(
        "farm_eligible_nodes",
        "Nodes in service for the lane with a card of the class or a larger one.",
        by_queue,
        dict.fromkeys(queues, 0) | _eligible(nodes),
    )
    yield gauge(
        "farm_oldest_waiting_timestamp_seconds",
        "Time since which the oldest shot has been waiting.",
        by_queue,
        totals.oldest_waiting,
    )
    yield gauge("farm_running_shots", "Running shots.", by_queue, dict.fromkeys(queues, 0) | totals.running)
    yield gauge("farm_delivered_shots", "Uploads that ingest has not judged yet.", (), {(): totals.delivered})
    yield gauge(
        "farm_key_budget_ratio",
        "Share of the budget of a key that its jobs have cost in its period.",
        ("key",),
        totals.budgets,
    )
