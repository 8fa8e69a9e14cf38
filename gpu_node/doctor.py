"""The checks of `farm-node doctor`: software, card, models, connection to the coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.errors import FarmError
from common.nodes import Card
from common.units import GIB
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.library import Holding, Library
from gpu_node.probe import Kernels, Probe, installed_versions


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    good: bool
    sentence: str


def examine(probe: Probe, library: Library, coordinator: Coordinator | None) -> Iterator[Finding]:
    """Findings in the order in which to fix them, each as soon as it is known."""
    yield Finding("software", True, ", ".join(f"{name} {v}" for name, v in installed_versions().items()))
    card = probe.card()
    yield Finding("card", True, describe(card))
    yield _kernels(card, probe.kernels())
    for holding in library.models(card):
        yield _holding("model", holding)
    for holding in library.loras():
        yield _holding("LoRA", holding)
    if coordinator is not None:
        yield _reachable(coordinator)


def describe(card: Card) -> str:
    capability = card.compute_capability
    parts = [
        f"{card.name}, {card.vram_bytes / GIB:.1f} GiB ({card.usable_bytes / GIB:.1f} usable)",
        f"class vram{card.vram_class:02d}",
        f"compute capability {capability[0]}.{capability[1]}" if capability else "renders on the CPU",
        f"{card.ram_bytes / GIB:.0f} GiB of host memory",
    ]
    return ", ".join(parts)


def _kernels(card: Card, kernels: Kernels) -> Finding:
    built_for = f"torch {kernels.torch} is built for {', '.join(kernels.archs) or 'no GPU'}"
    if not kernels.problem:
        return Finding("torch", True, f"{built_for}; {kernels.check}")
    remedy = ""
    if card.compute_capability and card.compute_capability < (7, 5):
        remedy = "; this card needs torch 2.14 or older from PyTorch's CUDA 12.6 index (FARM_TORCH=cu126)"
    return Finding("torch", False, f"{built_for}; {kernels.problem}{remedy}")


def _holding(kind: str, holding: Holding) -> Finding:
    if holding.problem:
        return Finding(kind, False, holding.problem)
    how = "matches the catalog" if holding.verified else "not verified: the catalog has no identity for it"
    lacks = "".join(f"; {why}" for why in holding.missing_recipes.values())
    return Finding(kind, True, f"{holding.name} in {holding.path}: {how}{lacks}")


def _reachable(coordinator: Coordinator) -> Finding:
    try:
        coordinator.reachable()
    except FarmError as error:
        return Finding("farm", False, str(error))
    return Finding("farm", True, f"{coordinator.url} answers")
