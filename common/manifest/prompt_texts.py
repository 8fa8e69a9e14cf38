"""The texts of a manifest that become prompts, and what other programs' syntax means in them here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.manifest.model import Axis, Group, ShotFields
from common.manifest.reading import Reading
from common.wording import shortened

_LORA_TAG = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]*)(?::([^<>]*))?>", re.IGNORECASE)
_WEIGHTED = re.compile(r"\([^()]{1,200}:\s{0,9}(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s{0,9}\)")
_BREAK = re.compile(r"\bBREAK\b")


def templates(defaults: ShotFields, groups: tuple[Group, ...]) -> dict[str, str]:
    """Texts in which references, variants and wildcards work, by path."""
    found = dict(_prompts(defaults, "defaults"))
    for index, group in enumerate(groups):
        path = f"shots[{index}]"
        found.update(_prompts(group, path))
        for name, axis in group.axes.items():
            found.update(_of_axis(axis, f"{path}.axes.{name}"))
        for number, fields in enumerate(group.include_sets):
            found.update(_prompts(fields, f"{path}.include[{number}]"))
    return found


def plain_texts(groups: tuple[Group, ...]) -> Iterator[tuple[str, str]]:
    """Axis values that stand in prompts as they are and may hold a tag, by path."""
    for index, group in enumerate(groups):
        for name, axis in group.axes.items():
            if not axis.expand:
                for number, value in enumerate(axis.values):
                    if "<" in str(value):
                        yield from _spelled(value, f"shots[{index}].axes.{name}[{number}]")


def _prompts(fields: ShotFields, path: str) -> Iterator[tuple[str, str]]:
    """Path and text of the prompts that one place sets."""
    for name, text in (("prompt", fields.prompt), ("negative", fields.negative)):
        if text is not None:
            yield f"{path}.{name}", text


def _of_axis(axis: Axis, path: str) -> Iterator[tuple[str, str]]:
    if axis.expand:
        for number, value in enumerate(axis.values):
            yield from _spelled(value, f"{path}[{number}]")
        return
    for number, fields in enumerate(axis.sets):
        if fields.prompt is not None or fields.negative is not None:
            value, where = axis.values[number], f"{path}[{number}]"
            yield from [(where, value)] if isinstance(value, str) else _prompts(fields, where)


def _spelled(value: str | dict[str, str], path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    else:
        yield from ((f"{path}.{field}", text) for field, text in value.items())


def check_tags(path: str, text: str, reading: Reading) -> None:
    """Reports `<lora:x:1>`, which does nothing here."""
    tag = _LORA_TAG.search(text) if "<" in text else None
    if tag:
        weight = f"@{tag[2]}" if tag[2] else ""
        lora = shortened(f"{tag[1]}{weight}")
        message = f"`{shortened(tag[0])}` does nothing in a prompt; write `loras: [{lora}]`"
        reading.wrong_at(path, message, tag.start())


def other_syntax(text: str) -> Iterator[tuple[int, str]]:
    """The first `(x:1.2)` and the first BREAK, which only some programs read as more than text."""
    for pattern in (_WEIGHTED, _BREAK):
        match = pattern.search(text)
        if match:
            yield match.start(), shortened(match[0])
