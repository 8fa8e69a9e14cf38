"""What a group says to no effect: axes that change no picture, triggers of LoRAs that it does not have."""

from __future__ import annotations

from collections.abc import Iterable, Set

from common.manifest.model import Group, Seeds
from common.manifest.prompt import Reference
from common.manifest.references import TRIGGER
from coordinator.expand.combinations import Combinations
from coordinator.expand.findings import Findings
from coordinator.expand.shot_settings import Written


def check_triggers(
    group: Group, read: Iterable[tuple[Reference, Written]], loras: Set[str], findings: Findings
) -> None:
    """Reports `{ana.trigger}` where no shot of the group has the LoRA.

    `read` is what its prompts refer to.
    """
    for node, prompt in read:
        named = node.name in group.axes or any(node.name in entry for entry in group.include)
        if node.field == TRIGGER and not named and node.name not in loras:
            message = f"{node}: no shot of group `{group.name}` has the LoRA `{node.name}`; add it to `loras`"
            findings.wrong(prompt.path, message, node.offset)


def check_effects(
    path: str, group: Group, seeds: Seeds, among: Combinations, read: Set[str], findings: Findings
) -> None:
    """Warns of axes that set nothing and that no prompt reads: they only repeat the same pictures."""
    if seeds.mode == "increment" and seeds.values is None:
        return
    for number, dimension in enumerate(among.dimensions):
        matters = any(each.matching[number] is not None for each in among.additions)
        if len(dimension) > 1 and not (matters or dimension.sets or read & {*dimension.names}):
            names = " and ".join(f"`{name}`" for name in dimension.names)
            verb = "changes" if len(dimension.names) == 1 else "change"
            message = f"{names} {verb} no picture: no prompt refers to it, and it sets nothing"
            findings.warn(f"{path}.axes.{dimension.names[0]}", message)
