"""Finds the texts of a manifest that become prompts, and tags in them that belong under `loras`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from common.manifest.model import Axis, Group, Output, ShotFields, Spelling
from common.manifest.presets import used_presets
from common.manifest.prompt import PromptError, Reference, nodes, parse
from common.manifest.reading import Reading
from common.wording import shortened

_LORA_TAG = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]*)(?::([^<>]*))?>", re.IGNORECASE)

#: Axis to the fields that prompts or names read; an empty field is the value itself.
Fields = dict[str, set[str]]


@dataclass(frozen=True, slots=True)
class PromptText:
    """A text that is part of prompts."""

    path: str
    text: str
    #: `template` with references, variants and wildcards; `line` of a wildcard; `value` of plain text.
    kind: Literal["template", "value", "line"]


def templates(
    defaults: ShotFields, groups: tuple[Group, ...], output: Output, presets: Mapping[str, ShotFields]
) -> dict[str, str]:
    """Returns the texts with references, variants and wildcards, by path.

    Includes values of expanding axes only if a prompt or name reads them.
    """
    found = dict(_shared(defaults, groups, presets))
    for index, group in enumerate(groups):
        path = f"shots[{index}]"
        found.update(_of_group(group, path))
        read = _read(group, chain(_of_group(group, path), _shared(defaults, (group,), presets)), output)
        for name, axis in group.axes.items():
            if axis.expand:
                found.update(_values(axis, f"{path}.axes.{name}", read.get(name, set())))
    return found


def prompt_texts(
    defaults: ShotFields,
    groups: tuple[Group, ...],
    output: Output,
    presets: Mapping[str, ShotFields],
    wildcards: Mapping[str, tuple[str, ...]],
) -> Iterator[PromptText]:
    """Yields all texts that are part of prompts; includes values only if a prompt reads them."""
    for path, text in templates(defaults, groups, output, presets).items():
        yield PromptText(path, text, "template")
    for index, group in enumerate(groups):
        path = f"shots[{index}]"
        read = _read(group, chain(_of_group(group, path), _shared(defaults, (group,), presets)), Output())
        for name, axis in group.axes.items():
            if not axis.expand and name in read:
                for where, text in _values(axis, f"{path}.axes.{name}", read[name]):
                    yield PromptText(where, text, "value")
        for number, entry in enumerate(group.include):
            for name in entry.keys() & (read.keys() - group.axes.keys()):
                for where, text in _read_of(entry[name], f"{path}.include[{number}].{name}", read[name]):
                    yield PromptText(where, text, "value")
    for name, lines in wildcards.items():
        for number, line in enumerate(lines):
            yield PromptText(f"wildcards.{name}[{number}]", line, "line")


def _shared(
    defaults: ShotFields, groups: tuple[Group, ...], presets: Mapping[str, ShotFields]
) -> Iterator[tuple[str, str]]:
    """Yields path and text of the prompts in `defaults` and in the presets in use."""
    yield from _prompts(defaults, "defaults")
    for path, fields in used_presets(defaults, groups, presets).items():
        yield from _prompts(fields, path)


def _of_group(group: Group, path: str) -> Iterator[tuple[str, str]]:
    """Yields path and text of all prompts that a group sets."""
    yield from _prompts(group, path)
    for name, axis in group.axes.items():
        for number, fields in enumerate(axis.sets):
            if fields.prompt is not None or fields.negative is not None:
                value, where = axis.values[number], f"{path}.axes.{name}[{number}]"
                yield from [(where, value)] if isinstance(value, str) else _prompts(fields, where)
    for number, fields in enumerate(group.include_sets):
        yield from _prompts(fields, f"{path}.include[{number}]")


def _prompts(fields: ShotFields, path: str) -> Iterator[tuple[str, str]]:
    """Yields path and text of the prompts in one place."""
    for name, text in (("prompt", fields.prompt), ("negative", fields.negative)):
        if text is not None:
            yield f"{path}.{name}", text


def _read(group: Group, prompts: Iterable[tuple[str, str]], output: Output) -> Fields:
    """Returns what the prompts and the name pattern read from axes."""
    name = group.output.name if group.output and group.output.name else output.name
    read: Fields = {}
    for text in {*(text for _, text in prompts), name or ""}:
        for node in _references(text):
            read.setdefault(node.name, set()).add(node.field)
    return read


def _references(text: str) -> Iterator[Reference]:
    if "{" in text:
        try:
            yield from [node for node in nodes(parse(text)) if isinstance(node, Reference)]
        except PromptError:
            # The check of wildcards reports this.
            return


def _values(axis: Axis, path: str, fields: set[str]) -> Iterator[tuple[str, str]]:
    """Yields path and text of these fields in the values of an axis."""
    for number, value in enumerate(axis.values):
        yield from _read_of(value, f"{path}[{number}]", fields)


def _read_of(value: Spelling, path: str, fields: set[str]) -> Iterator[tuple[str, str]]:
    names = {field or "name" for field in fields}
    if not isinstance(value, str):
        yield from ((f"{path}.{name}", value[name]) for name in sorted(names & value.keys()))
    elif "name" in names:
        yield path, value


def check_tags(texts: Iterable[PromptText], reading: Reading) -> None:
    """Reports `<lora:x:1>`, which has no effect: the first one in templates, in values and in wildcards."""
    found: dict[str, list[tuple[PromptText, re.Match[str]]]] = {}
    for text in texts:
        if "<" in text.text:
            found.setdefault(text.kind, []).extend((text, tag) for tag in _LORA_TAG.finditer(text.text))
    for kind, tags in found.items():
        if not tags:
            continue
        text, tag = tags[0]
        weight = f"@{tag[2]}" if tag[2] else ""
        lora = shortened(f"{tag[1]}{weight}")
        if kind == "template":
            remedy = f"write `loras: [{lora}]`"
        else:
            axis = "an axis" if kind == "line" else "the axis"
            mapping = f"{{name: {shortened(tag[1])}, text: …, loras: [{lora}]}}"
            remedy = f"make {axis} a list of mappings such as `{mapping}`"
        count = f" ({len(tags):,} times, first here)" if len(tags) > 1 else ""
        message = f"`{shortened(tag[0])}` has no effect in a prompt; {remedy}{count}"
        reading.wrong_at(text.path, message, tag.start())
