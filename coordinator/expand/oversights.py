"""Probable oversights in a group: values without effect, unused triggers, empty values and empty prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from common.exports import MAX_PIXELS, Export
from common.manifest.model import Group, Seeds
from common.manifest.prompt import Alternatives, Reference, Template, Wildcard
from common.manifest.prompt_variants import WildcardLines
from common.manifest.references import TRIGGER
from common.units import format_size
from coordinator.expand.combinations import Combination, Combinations
from coordinator.expand.dimensions import Value
from coordinator.expand.findings import Findings
from coordinator.expand.shot_settings import Written

#: Factor above which an export shows larger pixels than the image has; less is not seen.
_ENLARGED = 1.05


def check_triggers(
    group: Group, read: Iterable[tuple[Reference, Written]], loras: Set[str], findings: Findings
) -> None:
    """Reports `{ana.trigger}` where no shot of the group has the LoRA.

    `read` are the references in its prompts.
    """
    for node, prompt in read:
        named = node.name in group.axes or any(node.name in entry for entry in group.include)
        if node.field == TRIGGER and not named and node.name not in loras:
            message = f"{node}: no shot of group `{group.name}` has the LoRA `{node.name}`; add it to `loras`"
            findings.wrong(prompt.path, message, node.offset)


def check_effects(
    path: str, group: Group, seeds: Seeds, among: Combinations, read: Set[str], findings: Findings
) -> None:
    """Warns of axes that set nothing and that no prompt refers to, because they only repeat images."""
    if seeds.mode == "increment" and seeds.values is None:
        return
    for number, dimension in enumerate(among.dimensions):
        matters = any(each.matching[number] is not None for each in among.additions)
        if len(dimension) > 1 and not (matters or dimension.sets or read & {*dimension.names}):
            names = " and ".join(f"`{name}`" for name in dimension.names)
            verb = "changes" if len(dimension.names) == 1 else "change"
            message = f"{names} {verb} no image: no prompt refers to it, and it sets nothing"
            findings.warn(f"{path}.axes.{dimension.names[0]}", message)


def is_blank(text: str) -> bool:
    """Whether a text consists only of spaces and commas."""
    return not text.replace(",", "").strip()


def may_be_blank(
    template: Template, blank: Callable[[Reference], bool], wildcards: Mapping[str, WildcardLines]
) -> bool:
    """Whether a template can become blank; `blank` tells whether a reference can be blank."""
    return all(_may_be_blank(node, blank, wildcards) for node in template)


def _may_be_blank(
    node: str | Reference | Wildcard | Alternatives,
    blank: Callable[[Reference], bool],
    wildcards: Mapping[str, WildcardLines],
) -> bool:
    match node:
        case str():
            return is_blank(node)
        case Reference():
            return blank(node)
        case Wildcard():
            lines = wildcards[node.name]
            if lines.blank is None:
                lines.blank = any(may_be_blank(line.body, blank, wildcards) for line in lines.options)
            return lines.blank
        case Alternatives():
            options = wildcards[node.lines_of.name].options if node.lines_of else node.options
            blanks = sum(may_be_blank(option.body, blank, wildcards) for option in options)
            return blanks >= node.low


def warn_of_empty_values(
    node: Reference, written: Written, template: Template, values: Iterable[Value], findings: Findings
) -> None:
    """Warns of empty values that a prompt refers to, once per reference.

    `""` in the manifest itself is intended, unless it leaves a gap between commas.
    """
    known = list(values)
    empty = [value for value in known if is_blank(value.text(node.field) or "")]
    if not empty or template == (node,):
        # A completely empty prompt is reported separately.
        return
    if findings.origin(empty[0].parent) is None and not _leaves_gap(node, template):
        return
    rows = findings.rows(empty)
    message = f"{node} is empty in {len(empty):,} of {len(known):,} values ({rows}), which leaves a gap"
    findings.warn(empty[0].path(node.field), message, kind=f"{written.path} {node}")


def _leaves_gap(node: Reference, template: Template) -> bool:
    """Whether a reference has only commas or the end of the text on both sides."""
    if node not in template:
        return False
    at = template.index(node)
    before = template[at - 1] if at else ","
    after = template[at + 1] if at + 1 < len(template) else ","
    if not isinstance(before, str) or not isinstance(after, str):
        return False
    return before.rstrip()[-1:] in (",", "") and after.lstrip()[:1] in (",", "")


def tell_empty_prompts(
    path: str, prompt: Written, empty: Sequence[Value], counts: tuple[int, int], findings: Findings
) -> None:
    """Reports shots of a group with an empty prompt.

    `empty` are the values that cause it; `counts` the number of combinations without a prompt, and of all.
    """
    rows = f" ({findings.rows(empty)})" if empty else ""
    message = (
        f"the prompt is empty for {counts[0]:,} of {counts[1]:,} combinations{rows}; "
        "fill it in, or write `allow_empty: true` in the group"
    )
    findings.wrong(empty[0].path("") if empty else prompt.path or path, message)


def blamed(combination: Combination, read: Iterable[Reference]) -> Value | None:
    """The value that leaves a prompt empty: a row with an empty `prompt`, or the value of a reference."""
    values = combination.values
    for value in values.values():
        fields = {} if isinstance(value.spelling, str) else value.spelling
        if any(name.lower() == "prompt" and is_blank(text) for name, text in fields.items()):
            return value
    names = (node for node in read if node.name in values)
    return next(
        (values[each.name] for each in names if is_blank(values[each.name].text(each.field) or "")), None
    )


def check_exports(
    path: str, exports: Sequence[Export], sizes: Iterable[tuple[int, int]], findings: Findings
) -> None:
    """Warns of exports that enlarge images of these sizes, and reports those of too many pixels.

    A factor such as `2x` is meant to enlarge.
    """
    for width, height in sizes:
        image = format_size(width, height)
        for number, export in enumerate(exports):
            to_width, to_height = export.size_of(width, height)
            factor = export.enlargement(width, height)
            place = f"{path}.sizes[{number}]"
            if to_width * to_height > MAX_PIXELS:
                most = f"the limit is {MAX_PIXELS // 10**6} megapixels"
                findings.wrong(place, f"makes {format_size(to_width, to_height)} of {image}; {most}")
            elif export.width is not None and factor > _ENLARGED:
                larger = f"enlarges images of {image} {factor:.2g} times, which adds no detail"
                findings.warn(
                    place,
                    f"{larger}; set a larger `size`, or an upscaler as `upscale`",
                    kind=f"{path} {export.name} enlarges",
                )
