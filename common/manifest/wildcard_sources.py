"""Reads wildcards: `wildcards:` of the manifest, and files in `wildcards/` for each `__name__` in use."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

from common.document import tree
from common.document.tree import Place, Scalar, YamlNode, child_path, described, flow
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument
from common.manifest import prompt
from common.manifest.files import FileReader, UnusableFileError
from common.manifest.list_files import kept, load, read_file_list
from common.manifest.plain_values import Text, scalar_of
from common.manifest.reading import Reading
from common.manifest.value_remedies import is_list_file, listed, write
from common.manifest.wildcard_names import PACKS, WildcardNames
from common.wording import nearest, shortened

#: The folder beside the manifest.
FOLDER = "wildcards"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Wildcards:
    """The value of `wildcards`: names to lines, or to `{file: NAME}`."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> dict[str, tuple[str, ...]] | None:
        if not isinstance(node, tree.Mapping):
            hint = (
                f"; remove it: files in the folder `{FOLDER}/` are found automatically"
                if isinstance(node, Scalar)
                else ""
            )
            reading.wrong(
                node.place, path, f"must be a mapping of names to lists, not {described(node)}{hint}"
            )
            return None
        wildcards = {}
        for name, place, value in node.items():
            where = child_path(path, name)
            wildcards[prompt.normal_name(name)] = _lines(value, where, reading)
            if _CONTROL.search(name):
                reading.wrong(place, where, "the name of a wildcard contains a control character; remove it")
            elif not re.fullmatch(prompt.WILDCARD_NAME, name):
                bare = re.fullmatch(r"__(.+)__", name)
                message = (
                    f"names are written without `__` here; write `{bare[1]}`"
                    if bare
                    else (
                        f"no prompt can refer to `__{shortened(name)}__`; a name must not contain commas, "
                        "braces, `|` or `__`, or begin or end with a space"
                    )
                )
                reading.warn_at(where, message)
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
            "propertyNames": {"pattern": f"^(?:{prompt.WILDCARD_NAME})$"},
            "additionalProperties": {"anyOf": [listed, file]},
        }


def _lines(node: YamlNode, path: str, reading: Reading) -> tuple[str, ...]:
    if isinstance(node, tree.Mapping) and node.entries.keys() == {"file"}:
        found = read_file_list(node, path, reading)
        if found is None:
            return ()
        node = found
    if not isinstance(node, tree.Sequence) or not node.items:
        hint = write("", _as_list(node))
        reading.wrong(
            node.place, path, f"must be a list of texts or `{{file: …}}`, not {described(node)}{hint}"
        )
        return ()
    read = [scalar_of(item, f"{path}[{i}]", reading) for i, item in enumerate(node.items)]
    return tuple(scalar.text if scalar else "" for scalar in read)


def _as_list(node: YamlNode) -> str | None:
    """Suggests a list for the lines of a text, or for a mapping of lines to weights."""
    if isinstance(node, Scalar) and node.text:
        return f"{{file: {flow(node)}}}" if is_list_file(node.text) else listed(node.text)
    entries = node.items() if isinstance(node, tree.Mapping) else ()
    weights = [(line, value.text) for line, _, value in entries if is_weight(value)]
    if not weights or not isinstance(node, tree.Mapping) or len(weights) < len(node.entries):
        return None
    lines: list[YamlNode] = [Scalar(node.place, f"{weight}::{line}") for line, weight in weights]
    return flow(tree.Sequence(node.place, lines))


def is_weight(node: YamlNode) -> TypeGuard[Scalar]:
    return isinstance(node, Scalar) and not node.style and (node.number() or 0) > 0


class _Folder:
    """The wildcards of the manifest and of files beside it. Packs are read on demand."""

    def __init__(self, own: Mapping[str, tuple[str, ...]], reading: Reading) -> None:
        self._own = own
        self._reading = reading
        #: Messages about packs that cannot be read.
        self.broken: list[str] = []

    def find(self, mention: str, within: str) -> tuple[str, ...]:
        return self._without_packs.find_file(mention, within) or self.names.find(mention, within)

    def lines(self, name: str, place: Place) -> tuple[str, ...]:
        """Returns the lines of a wildcard in a file; `place` is the position of the reference."""
        path = f"wildcards.{name}"
        if name in self._files:
            reader, file = self._files[name]
            found = load(file, place, path, self._reading, files=reader)
            return () if found is None else _lines(found, path, self._reading)
        file, values = self._packed[name]
        if isinstance(values, tree.Mapping):
            message = f"weights must come before the lines{write('', _as_list(values))}"
            self._reading.wrong(place, path, f"{file}:{values.place.line}: {message}")
            return ()
        if isinstance(values, Scalar):
            values = _as_lines(values)
        return _lines(kept(values, file, place, path, self._reading), path, self._reading)

    @cached_property
    def names(self) -> WildcardNames:
        return WildcardNames({*self._own, *self._files, *self._packed})

    @cached_property
    def _without_packs(self) -> WildcardNames:
        return WildcardNames({*self._own, *self._files})

    @cached_property
    def _below(self) -> list[tuple[FileReader, str]]:
        """All files beside the manifest, then beside those that it extends, each with its reader."""
        files = self._reading.files
        readers = {each.folder: each for each in (files, *self._reading.readers.values()) if each}
        return [(reader, name) for reader in readers.values() for name in reader.below(FOLDER)]

    @cached_property
    def _files(self) -> dict[str, tuple[FileReader, str]]:
        """The file of each wildcard outside packs."""
        found: dict[str, tuple[FileReader, str]] = {}
        for reader, name in self._below:
            if name.lower().endswith(".txt") and not _CONTROL.search(name):
                file = reader, f"{FOLDER}/{name}"
                found.setdefault(prompt.normal_name(name[: -len(".txt")]), file)
        return found

    @cached_property
    def _packed(self) -> dict[str, tuple[str, YamlNode]]:
        """File and values of each list in a pack."""
        found: dict[str, tuple[str, YamlNode]] = {}
        for reader, name in self._below:
            file = f"{FOLDER}/{name}"
            if name.lower().endswith(PACKS) and (root := self._root(reader, file)) is not None:
                for keys, values in _leaves(root, ""):
                    found.setdefault(prompt.normal_name(f"{name}{keys}"), (file, values))
        return found

    def _root(self, reader: FileReader, file: str) -> YamlNode | None:
        try:
            text, problems = read_yaml(reader.read(file), file)
        except UnusableFileError as error:
            self.broken.append(f"`{file}` {error}")
            return None
        except InvalidDocument as error:
            problems = list(error.problems)
        if problems:
            line = f" on line {problems[0].line}" if problems[0].line else ""
            self.broken.append(f"`{file}` cannot be read{line}: {problems[0].message}")
            return None
        return text.root


def _leaves(node: YamlNode, keys: str) -> Iterator[tuple[str, YamlNode]]:
    """Yields the lists and texts of a pack with their keys, each key preceded by `/`.

    A mapping of lines to weights is yielded like a list; other mappings are searched for lists.
    """
    if isinstance(node, tree.Mapping) and (not _as_list(node) or not keys):
        for key, _, value in node.items():
            if not _CONTROL.search(key):
                yield from _leaves(value, f"{keys}/{key}")
    elif not isinstance(node, Scalar) or node.kind != "null":
        yield keys, node


def _as_lines(text: Scalar) -> tree.Sequence:
    """Returns the lines of a text in a pack, without blank ones."""
    first = text.place.line + (text.style in ("|", ">"))
    lines: list[YamlNode] = [
        Scalar(Place(number, 1), line.strip(), '"')
        for number, line in enumerate(text.text.split("\n"), start=first)
        if line.strip()
    ]
    return tree.Sequence(text.place, lines)


def add_used(
    wildcards: dict[str, tuple[str, ...]], templates: dict[str, str], reading: Reading
) -> dict[str, tuple[str, ...]]:
    """Returns `wildcards` with those in files that the templates use, directly or through other wildcards.

    `templates` are texts by path. Unreadable files and unknown wildcards are reported at the position of the
    reference.
    """
    known = dict(wildcards)
    folder = _Folder(wildcards, reading)
    unknown: set[str] = set()
    waiting = deque([(path, text, "") for path, text in templates.items()])
    waiting.extend(_numbered(known))
    while waiting:
        path, text, within = waiting.popleft()
        for node in _mentions(path, text, within, reading):
            found = folder.find(node.name, within)
            if not found and node.name not in unknown:
                unknown.add(node.name)
                reading.wrong_at(path, _unknown(node.name, folder, reading), node.offset)
            for name in found:
                if name not in known:
                    known[name] = folder.lines(name, _place(path, node.offset, reading))
                    waiting.extend(_numbered({name: known[name]}))
    return {name: lines for name, lines in known.items() if lines}


def _numbered(wildcards: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str, str]]:
    """Yields path, text and wildcard of every line."""
    for name, lines in wildcards.items():
        yield from ((f"wildcards.{name}[{i}]", line, name) for i, line in enumerate(lines))


def _mentions(path: str, text: str, within: str, reading: Reading) -> list[prompt.Wildcard]:
    if not any(mark in text for mark in ("__", "{", "}", "|", "::")):
        return []
    try:
        template = prompt.parse_line(text).body if within else prompt.parse(text)
    except prompt.PromptError as error:
        reading.wrong_at(path, error.message, error.offset)
        return []
    return [node for node in prompt.nodes(template) if isinstance(node, prompt.Wildcard)]


def _place(path: str, offset: int, reading: Reading) -> Place:
    problem = reading.text.problem(path, "", offset)
    return Place(problem.line or 1, problem.column or 1, file=problem.file)


def _elsewhere(mention: str, files: FileReader) -> str:
    """Suggests moving the file of a wildcard, if it is in a place that is not searched."""
    folders = ("Wildcards", "wildcard", "Wildcard", "")
    name = next((name for each in folders if files.exists(name := f"{each}/{mention}.txt".lstrip("/"))), None)
    return f"; move `{shortened(name)}` there" if name else ""


def _unknown(mention: str, folder: _Folder, reading: Reading) -> str:
    """Returns the message about an unknown wildcard."""
    written = f"__{shortened(mention)}__"
    if "*" in mention:
        message = f"no wildcard matches `{written}`"
    elif folder.names.is_folder(mention):
        message = f"`{written}` is a folder of wildcards; write `__{shortened(mention)}/*__` for all of them"
    else:
        message = f"unknown wildcard `{written}`"
        mentions = folder.names.mentions()
        last = mention.replace("\\", "/").rpartition("/")[2]
        near = next((each for each in mentions if each != mention and each.rpartition("/")[2] == last), None)
        near = near or nearest(mention, mentions)
        if near is not None:
            message += f": did you mean `__{near}__`?"
        elif mention in reading.lists:
            message += f"; that is a list, so make it an axis with `{{list: {mention}}}`"
        elif reading.files is not None and not folder.broken:
            message += f"; there is no `{FOLDER}/{shortened(mention)}.txt` in the folder of the manifest"
            message += _elsewhere(mention, reading.files)
    return "; ".join([message, *folder.broken[:1]])
