"""Builds the expansion of a manifest; all checks run before any shot is built."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from itertools import accumulate

from common.catalog import Catalog
from common.manifest.model import Manifest
from common.manifest.parse import ParsedManifest
from common.manifest.prompt import Reference
from coordinator.expand.combinations import combinations
from coordinator.expand.dimensions import Setter
from coordinator.expand.expansion import Expansion
from coordinator.expand.findings import Findings
from coordinator.expand.group import Frame, GroupExpansion
from coordinator.expand.limits import CheckedGroup, number_groups
from coordinator.expand.output_names import NamePattern
from coordinator.expand.oversights import (
    blamed,
    check_effects,
    check_exports,
    check_triggers,
    tell_empty_prompts,
)
from coordinator.expand.prompts import Prompts
from coordinator.expand.shot_settings import Impossible, Merged, Rendering, Written, rendering, resolve

#: Cached renderings; consecutive shots usually share one.
_RENDERINGS_KEPT = 4096


def expand(
    manifest: Manifest | ParsedManifest, catalog: Catalog, *, random_seed: int | None = None
) -> Expansion:
    """The shots of a manifest, checked but not built. `random_seed` overrides that of the manifest.

    Raises `InvalidDocument` with every problem that the parser cannot detect: those that depend on the
    combination, and more shots than `limits.max_images` due to variants and `include`. `check_names` detects
    colliding output names, which requires every shot.
    """
    written = manifest.manifest if isinstance(manifest, ParsedManifest) else manifest
    findings = Findings(manifest)
    prompts = Prompts(written, catalog, findings)
    names = [NamePattern(written, number, findings) for number in range(len(written.shots))]
    groups = [
        _checked(number, written, catalog, prompts, pattern, findings) for number, pattern in enumerate(names)
    ]
    findings.raise_any()
    numberings = number_groups(groups, written, prompts, findings)
    findings.raise_any()
    seed = written.random_seed if random_seed is None else random_seed
    ends = list(accumulate((numbering.shots for numbering in numberings), initial=0))
    digits = len(str(max(0, ends[-1] - 1)))
    expanded = []
    for group, numbering, first, pattern in zip(groups, numberings, ends, names, strict=False):
        frame = Frame(
            group=group.group.name,
            seeds=group.seeds,
            combinatorial=group.combinatorial,
            expands=any(axis.expand for axis in group.group.axes.values()),
            random_seed=seed,
            first=first,
            digits=digits,
        )
        expanded.append(
            GroupExpansion(frame, group.combinations, numbering, group.rendering, prompts, pattern)
        )
    for group, shots in zip(groups, expanded, strict=True):
        _check_prompts(group, shots, written, prompts, findings)
    findings.raise_any()
    unidentified = dict.fromkeys(name for group in groups for name in group.unidentified)
    return Expansion(expanded, random_seed=seed, unidentified=list(unidentified), findings=findings)


def _check_prompts(
    group: CheckedGroup, shots: GroupExpansion, manifest: Manifest, prompts: Prompts, findings: Findings
) -> None:
    """Reports shots with an empty prompt. Skips groups in which no value or draw can leave one empty."""
    found = group.combinations
    asked = {group.rendering(each.setters).settings.prompt for each in found.representatives()}
    possible = [prompt for prompt in asked if prompts.may_be_empty(prompt, found.values_of)]
    if not possible or manifest.allows_empty(group.group):
        return
    empty = list(shots.without_prompt())
    if empty:
        values = [
            blamed(each, [node for text in possible for node in prompts.references(text)]) for each in empty
        ]
        counts = len(empty), len(found)
        tell_empty_prompts(group.path, possible[0], [value for value in values if value], counts, findings)


def _checked(
    number: int,
    manifest: Manifest,
    catalog: Catalog,
    prompts: Prompts,
    names: NamePattern,
    findings: Findings,
) -> CheckedGroup:
    """A group of the manifest, after reporting all of its problems."""
    path, group = f"shots[{number}]", manifest.shots[number]
    shared, own = (
        Setter.all_of(place, fields, manifest.presets)
        for place, fields in (("defaults", manifest.defaults), (path, group))
    )
    common = (*shared[0], *own[0], *shared[1], *own[1])

    @lru_cache(maxsize=_RENDERINGS_KEPT)
    def rendering_of(setters: tuple[Setter, ...]) -> Rendering:
        return rendering(resolve(Merged(common + setters), catalog, findings), manifest, group)

    found = combinations(path, group, manifest.presets, findings)
    unidentified: dict[str, None] = {}
    read: dict[tuple[Reference, Written], None] = {}
    loras: set[str] = set()
    sizes: dict[tuple[int, int], None] = {}
    for combination in found.representatives():
        merged = Merged(common + combination.setters)
        loras.update(merged.loras)
        for prompt in (merged.prompt, merged.negative):
            read.update(dict.fromkeys((node, prompt) for node in prompts.check(prompt, combination, found)))
        names.check(group.name, combination, found)
        with suppress(Impossible):
            made = rendering_of(combination.setters)
            unidentified.update(dict.fromkeys(made.unidentified))
            sizes[made.shot.final_size] = None
    sized_here = group.output is not None and "sizes" in group.output.model_fields_set
    check_exports(f"{path}.output" if sized_here else "output", names.exports, sizes, findings)
    prompts.check_expanding(names.references, found)
    check_triggers(group, read, loras, findings)
    check_effects(path, group, manifest.seeds_of(group), found, {node.name for node, _ in read}, findings)
    return CheckedGroup(
        path=path,
        group=group,
        combinations=found,
        seeds=manifest.seeds_of(group),
        combinatorial=manifest.multiplies(group),
        rendering=rendering_of,
        names=names,
        unidentified=tuple(unidentified),
    )
