"""Nodes as the scheduler sees them: all that decides which work each can take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from common.nodes import Card, Terms
from common.states import IN_SERVICE, NodeState
from coordinator.scheduling.horizon import NodeKind
from coordinator.scheduling.work import Loaded, WorkSample


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A node, as far as it matters to what it can take."""

    id: str
    state: NodeState
    card: Card
    terms: Terms
    #: Whose node it is.
    owner: str = ""
    vram_class: int
    lanes: frozenset[str]
    models: frozenset[str]
    loras: frozenset[str]
    #: Model to the recipes that it has no file for.
    missing_recipes: dict[str, list[str]]
    #: Models, LoRAs and upscalers that it put aside, to the reason.
    aside: dict[str, str]
    #: Model and LoRAs in memory.
    loaded: Loaded
    #: Model to the seconds that a megapixel-forward of a plain image takes here, as measured with all images.
    speeds: dict[str, float]
    #: Model to the seconds that loading it was measured to take here.
    loads: dict[str, float] = field(default_factory=dict)
    #: Model to the seconds that fetching it takes, of those that are not here yet.
    fetch_s: dict[str, float] = field(default_factory=dict)
    #: Libraries that decide its embeddings, to their versions.
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def serves(self) -> bool:
        """Whether it takes work, or will when it has done what it has."""
        return self.state in IN_SERVICE

    @property
    def kind(self) -> NodeKind:
        return NodeKind(self.card.type, self.loaded[0], self.models)

    @property
    def abilities(self) -> tuple[object, ...]:
        """All that decides which work it can take; hashable."""
        missing = frozenset((model, *recipes) for model, recipes in self.missing_recipes.items())
        versions = frozenset(self.versions.items())
        return self.card, self.lanes, self.models, self.loras, missing, frozenset(self.aside), versions

    def lacks(self, work: WorkSample, min_class: int) -> str | None:
        """Why this node cannot take such shots, as far as its files and class tell; None if it can."""
        upscaler = work.shot.upscaler
        for name in (work.model, *work.loras, *([upscaler.name] if upscaler else [])):
            if why := self.aside.get(name):
                return f"this node put {name} aside: {why}"
        if work.model not in self.models:
            return f"model {work.model} is not on this node"
        missing = [name for name in work.loras if name not in self.loras]
        if missing:
            return f"LoRA {', '.join(missing)} is not on this node"
        if min_class > self.vram_class:
            return f"they need a card of {min_class} GB or more"
        return None

    def has_loaded(self, work: WorkSample) -> bool:
        return self.loaded == work.loads


def card_of(facts: dict[str, Any]) -> Card:
    """The card of a node's row."""
    capability = facts["compute_capability"]
    return Card(**facts | {"compute_capability": capability and tuple(capability)})
