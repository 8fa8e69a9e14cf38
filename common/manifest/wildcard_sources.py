"""Wildcards: `wildcards:` of the manifest, and `wildcards/NAME.txt` beside it for each `__NAME__` in use."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.document import nodes
from common.document.nodes import Node, child_path, described
from common.manifest import prompt
from common.manifest.list_files import load, read_file_list
from common.manifest.plain_values import Text, scalar_of
from common.manifest.reading import Reading
from common.wording import nearest, shortened

#: Folder beside the manifest.
FOLDER = "wildcards"

#: Of a name between `__` and `__`, where one underscore may stand but not two.
_NAME = r"[^\s_{}|\\](?:[^\s_{}|\\]|_(?!_))*"


@dataclass(frozen=True, slots=True)
class Wildcards:
    """Name to lines, or to `{file: NAME}`."""

    def read(self, node: Node, path: str, reading: Reading) -> dict[str, tuple[str, ...]] | None:
        if not isinstance(node, nodes.Mapping):
            reading.wrong(node.place, path, f"must be a mapping of names to lists, not {described(node)}")
            return None
        wildcards = {}
        for name, place, value in node.items():
            where = child_path(path, name)
            if not re.fullmatch(_NAME, name):
                message = f"wildcard name `{shortened(name)}` must hold no spaces, braces, `|` or double `_`"
                reading.wrong(place, where, message)
            wildcards[name] = _lines(value, where, reading)
        return wildcards

    def schema(self) -> dict[str, Any]:
        text = Text().schema()
        file = {
            "type": "object",
            "properties": {"file": {"type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        }
        listed = {"type": "array", "items": text, "minItems": 1}
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{_NAME}$"},
            "additionalProperties": {"anyOf": [listed, file]},
        }


def _lines(node: Node, path: str, reading: Reading) -> tuple[str, ...]:
    if isinstance(node, nodes.Mapping) and node.entries.keys() == {"file"}:
        found = read_file_list(node, path, reading)
        if found is None:
            return ()
        node = found
    if not isinstance(node, nodes.Sequence) or not node.items:
        reading.wrong(node.place, path, f"must be a list of texts or `{{file: …}}`, not {described(node)}")
        return ()
    read = [scalar_of(item, f"{path}[{i}]", reading) for i, item in enumerate(node.items)]
    return tuple(scalar.text for scalar in read if scalar)


def add_used(
    wildcards: dict[str, tuple[str, ...]], templates: dict[str, str], reading: Reading
) -> dict[str, tuple[str, ...]]:
    """`wildcards` with those read from files for every `__NAME__` that the templates use, lines included.

    `templates` are texts by path. One that cannot be read, and a wildcard that neither the manifest nor a
    file gives, is reported at its place.
    """
    known = dict(wildcards)
    waiting = deque([*templates.items(), *_numbered(known)])
    while waiting:
        path, text = waiting.popleft()
        for name, offset in _mentions(path, text, reading):
            if name not in known:
                known[name] = _from_folder(name, path, offset, known, reading)
                waiting.extend(_numbered({name: known[name]}))
    return {name: lines for name, lines in known.items() if lines}


def _numbered(wildcards: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [
        (f"wildcards.{name}[{i}]", line) for name, lines in wildcards.items() for i, line in enumerate(lines)
    ]


def _mentions(path: str, text: str, reading: Reading) -> list[tuple[str, int]]:
    if not any(mark in text for mark in ("__", "{", "}", "|")):
        return []
    try:
        found = prompt.nodes(prompt.parse(text))
        return [(node.name, node.offset) for node in found if isinstance(node, prompt.Wildcard)]
    except prompt.PromptError as error:
        reading.wrong_at(path, error.message, error.offset)
        return []


def _from_folder(
    name: str, path: str, offset: int, known: dict[str, tuple[str, ...]], reading: Reading
) -> tuple[str, ...]:
    file = f"{FOLDER}/{name}.txt"
    problem = reading.text.problem(path, "", offset)
    place = nodes.Place(problem.line or 1, problem.column or 1)
    if reading.files is None or not reading.files.exists(file):
        others = [other for other, lines in known.items() if lines]
        looked = ""
        if reading.files is not None:
            others += [found.removesuffix(".txt") for found in reading.files.names(FOLDER)]
            looked = f"; there is no `{shortened(file)}` beside the manifest"
        near = nearest(name, others)
        hint = f": did you mean `{near}`?" if near else looked
        message = f"unknown wildcard `__{shortened(name)}__`{hint}"
        reading.wrong_at(path, message, offset)
        return ()
    found = load(file, place, f"wildcards.{name}", reading)
    return () if found is None else _lines(found, f"wildcards.{name}", reading)
