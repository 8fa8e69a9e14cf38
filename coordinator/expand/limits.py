"""Counts the shots of a manifest and checks `limits.max_images` before any shot is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from common.manifest.limits import too_many_images
from common.manifest.model import Group, Manifest, Seeds
from coordinator.expand.combinations import Combination, Combinations
from coordinator.expand.dimensions import Setter
from coordinator.expand.findings import Findings
from coordinator.expand.numbering import Numbering
from coordinator.expand.output_names import NamePattern
from coordinator.expand.prompts import Prompts
from coordinator.expand.shot_settings import Rendering, Written

#: Seeds must fit into the integers of every database.
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedGroup:
    """A group without errors."""

    path: str
    group: Group
    combinations: Combinations
    seeds: Seeds
    combinatorial: bool
    rendering: Callable[[tuple[Setter, ...]], Rendering]
    names: NamePattern
    #: Models and LoRAs without an identity in the catalog.
    unidentified: tuple[str, ...]


def number_groups(
    groups: Sequence[CheckedGroup], manifest: Manifest, prompts: Prompts, findings: Findings
) -> list[Numbering]:
    """The numbering of each group; reports if the groups exceed the limit.

    Counts before `exclude`, because its effect would require iterating over the whole product.
    """
    counts = [_variants(group, prompts) for group in groups]
    totals = [_before_exclude(group, count) for group, count in zip(groups, counts, strict=True)]
    if sum(totals) > manifest.limits.max_images:
        largest = max(range(len(totals)), key=totals.__getitem__)
        included = len(groups[largest].combinations.fresh)
        findings.wrong(*too_many_images(totals, manifest, included))
        return []
    numberings = [_numbering(group, count) for group, count in zip(groups, counts, strict=True)]
    for group, numbering in zip(groups, numberings, strict=True):
        if not numbering.shots:
            findings.wrong(f"{group.path}.exclude", "excludes all combinations of this group; exclude fewer")
        if group.seeds.mode == "increment" and group.seeds.start + numbering.shots - 1 > _MAX_SEED:
            findings.wrong(f"{group.path}.seeds", f"exceeds the largest seed, {_MAX_SEED}")
    return numberings


def _variants(group: CheckedGroup, prompts: Prompts) -> int | list[int]:
    """Variants per combination: one number, or one per combination if they differ."""
    if not group.combinatorial:
        return 1
    alike = {_texts(group, each) for each in group.combinations.representatives()}
    if len(alike) == 1 and not any(axis.expand for axis in group.group.axes.values()):
        return _count(group, next(group.combinations.representatives()), prompts)
    return [_count(group, combination, prompts) for combination in group.combinations]


def _count(group: CheckedGroup, combination: Combination, prompts: Prompts) -> int:
    texts, values = _texts(group, combination), combination.values
    drawn = prompts.drawn(texts, group.names.references, values)
    return drawn.count() * prod(prompts.bound(text, values).count() for text in texts)


def _texts(group: CheckedGroup, combination: Combination) -> tuple[Written, Written]:
    settings = group.rendering(combination.setters).settings
    return settings.prompt, settings.negative


def _before_exclude(group: CheckedGroup, variants: int | list[int]) -> int:
    """Number of shots, counting every excluded combination like the largest kept one."""
    those = group.combinations
    excluded = those.kept.excluded
    if isinstance(variants, int):
        return variants * (len(those) + excluded) * len(group.seeds)
    return (sum(variants) + excluded * max(variants, default=1)) * len(group.seeds)


def _numbering(group: CheckedGroup, variants: int | list[int]) -> Numbering:
    if isinstance(variants, int):
        return Numbering(len(group.combinations), len(group.seeds), variants)
    return Numbering.of(variants, len(group.seeds))
