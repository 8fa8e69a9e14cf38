"""Reads the remedy out of a problem's message, and does to the manifest what it says.

The forms that messages keep to:

    did you mean `x`?                               write `x`
    write `key: x`                                  write `key: x` instead of it and `other`
    write `key: x` under `axes:`                    write one entry for each: `x`, `y`
    remove it                                       put it in quotes: x
    `х` is U+0445, Cyrillic; write `x`
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.catalog import load_catalog
from common.document import tree
from common.document.tree import Mapping, Scalar, Sequence, YamlNode
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.inline import _lines
from common.manifest.parse import parse_manifest
from coordinator.expand import check_names, expand

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_DID_YOU_MEAN = re.compile(r"(?:`([^`]+)`|\{([^{}]+)\})[^`{}]*did you mean `([^`]+)`\?$")
_ODD = re.compile(r"(?:`(.)` is )?U\+([0-9A-F]{4,6})[^`]*; write `([^`]+)`$")
_EACH = re.compile(r"write one entry for each: (`.*`)$")
_QUOTES = re.compile(r"put it in quotes: (.*)$")
_WRITE = re.compile(
    r"write `([^`]+)`(?: under (?:the )?`(\w+):`(?: of a group)?| instead(?: of it and (.+))?|)$"
)
_TAG = re.compile(r"`(<[^`]*>)` has no effect in a prompt; write `loras: ([^`]+)`$")
_HASH = re.compile(r"#[^\s,\]}]+")


def problems_of(content: str, files: FileReader | None) -> tuple[Problem, ...]:
    """Everything that is wrong with a manifest, as `farm plan` tells it."""
    catalog = load_catalog()
    try:
        parsed = parse_manifest(content, source="m.yaml", files=files, catalog=catalog)
        check_names(expand(parsed, catalog))
    except InvalidDocument as error:
        return error.problems
    return ()


def remedied(content: str, problem: Problem) -> str | None:
    """The manifest with the problem's remedy applied; None where its message has none of these forms."""
    message = problem.message
    quotes = _QUOTES.search(message)
    if quotes and not problem.path:
        return _in_source(content, problem, quotes[1])
    if "`#` starts a comment here" in message and (found := _WRITE.search(message)):
        return _in_source(content, problem, found[1], _HASH)
    if in_line := _of_line(content, problem):
        return in_line
    try:
        root = read_yaml(content, "m.yaml")[0].root
    except InvalidDocument:
        return None
    target = _Target.at(root, problem.path)
    if found := _DID_YOU_MEAN.search(message):
        target.rename(found[1] or found[2], found[3])
    elif (odd := _ODD.search(message)) is not None:
        target.respell(chr(int(odd[2], 16)), odd[3])
    elif quotes:
        target.put(quotes[1])
    elif found := _EACH.search(message):
        target.put_each([_node(text) for text in re.findall(r"`([^`]+)`", found[1])])
    elif re.search(r"; remove it(?:$|: |, since )", message):
        target.remove()
    elif found := _TAG.match(message):
        target.rename(found[1], "")
        target.mapping.entries["loras"] = (target.mapping.place, _value(found[2]))
    elif found := _WRITE.search(message):
        _write(root, target, message, found)
    else:
        return None
    return "".join(f"{line}\n" for line in _lines(root, ""))


def _of_line(content: str, problem: Problem) -> str | None:
    """What is mended in the source, as the tree does not hold it."""
    message = problem.message
    if message.startswith("a `:` and a space must separate key and value") and (
        found := _WRITE.search(message)
    ):
        return _in_source(content, problem, found[1])
    odd = _ODD.search(message) or re.search(r"(`.` is )?U\+([0-9A-F]{4})[^`]*(; remove it)$", message)
    if odd is None or (problem.path and odd[3] != " "):
        return None
    text = "" if odd[3] == "; remove it" else odd[3]
    what = ".+" if text[:1] in ("'", '"') and len(text) > 1 else chr(int(odd[2], 16))
    return _in_source(content, problem, text, re.compile(what + ("+" if text == " " else "")))


def _write(root: YamlNode, target: _Target, message: str, found: re.Match[str]) -> None:
    text, under, others = found.groups()
    subject = re.match(r"(\{[^{}]+\}): ", message)
    if subject and text.startswith("{"):
        target.rename(subject[1], text)
    elif under:
        target.move(_node(text), under, root)
    else:
        target.put(text)
        for other in re.findall(r"`([^`]+)`", others or ""):
            del target.mapping.entries[other]


def _in_source(content: str, problem: Problem, text: str, what: re.Pattern[str] = re.compile(r".+")) -> str:
    """The source with what stands at the problem's place replaced."""
    lines = content.split("\n")
    assert problem.line is not None
    assert problem.column is not None
    line = lines[problem.line - 1]
    match = what.search(line, problem.column - 1)
    assert match, (line, problem)
    wide = text * len(match[0]) if text == " " else text
    lines[problem.line - 1] = line[: match.start()] + wide + line[match.end() :]
    return "\n".join(lines)


def _node(text: str) -> YamlNode:
    return read_yaml(f"x: {text}" if not re.match(r"[\w.-]+: ", text) else text, "remedy")[0].root


def _value(text: str) -> YamlNode:
    root = read_yaml(f"x: {text}", "remedy")[0].root
    assert isinstance(root, Mapping)
    return root.entries["x"][1]


@dataclass
class _Target:
    """The place of a problem in the tree: each container on the way with the key that leads on."""

    way: list[tuple[Mapping | Sequence, str | int]]
    root: YamlNode

    @classmethod
    def at(cls, root: YamlNode, path: str) -> _Target:
        way: list[tuple[Mapping | Sequence, str | int]] = []
        node = root
        for step in _STEP.finditer(path):
            index, key = step.groups()
            if index is not None and isinstance(node, Mapping) and isinstance(node.get("values"), Sequence):
                way.append((node, "values"))
                node = node.entries["values"][1]
            if index is not None and isinstance(node, Sequence) and int(index) < len(node.items):
                way.append((node, int(index)))
                node = node.items[int(index)]
            elif key is not None and isinstance(node, Mapping):
                shown = {" ".join(each.split()): each for each in node.entries}
                dotted = shown.get(key.strip(), path[step.start() :])
                if dotted not in node.entries:
                    break
                way.append((node, dotted))
                node = node.entries[dotted][1]
        return cls(way, root)

    @property
    def mapping(self) -> Mapping:
        """The innermost mapping on the way."""
        return next(each for each, _ in reversed(self.way) if isinstance(each, Mapping))

    @property
    def key(self) -> str:
        return next(str(key) for each, key in reversed(self.way) if isinstance(each, Mapping))

    @property
    def node(self) -> YamlNode:
        container, key = self.way[-1]
        return container.entries[str(key)][1] if isinstance(container, Mapping) else container.items[int(key)]

    def _replace(self, node: YamlNode) -> None:
        container, key = self.way[-1]
        if isinstance(container, Mapping):
            container.entries[str(key)] = (container.entries[str(key)][0], node)
        else:
            container.items[int(key)] = node

    def rename(self, word: str, text: str) -> None:
        """The word as the key itself, else in the texts there."""
        container, key = self.way[-1]
        if (
            isinstance(container, Mapping)
            and word.strip("_") in str(key)
            and isinstance(key, str)
            and "file" not in key
        ):
            _rekey(container, key, key.replace(word, text, 1))
        else:
            self._replace(_with(self.node, word, text))

    def respell(self, char: str, text: str) -> None:
        container, key = self.way[-1]
        if isinstance(container, Mapping) and char in str(key):
            _rekey(container, str(key), str(key).replace(char, text) if len(text) == 1 else text)
        elif isinstance(self.node, Scalar) and len(text) == 1:
            self._replace(Scalar(self.node.place, self.node.text.replace(char, text), self.node.style))
        elif isinstance(self.node, Scalar) and "{" in self.node.text:
            self._replace(
                _with(self.node, re.search(r"\{([^{}]*" + char + r"[^{}]*)\}", self.node.text)[1], text)
            )  # type: ignore[index]
        else:
            self._replace(_value(text))

    def put_each(self, entries: list[YamlNode]) -> None:
        container, key = self.way[-1]
        assert isinstance(container, Sequence)
        read = [
            entry.entries["x"][1] if isinstance(entry, Mapping) and "x" in entry.entries else entry
            for entry in entries
        ]
        container.items[int(key) : int(key) + 1] = read

    def remove(self) -> None:
        del self.mapping.entries[self.key]

    def put(self, text: str) -> None:
        """A line in place of the entry that has its key, else of the wrong key; or a value in its place."""
        line = re.match(r"([\w-]+): ", text)
        if line is None:
            self._replace(_value(text))
            return
        node = _node(text)
        assert isinstance(node, Mapping)
        if not self.way:
            assert isinstance(self.root, Mapping)
            self.root.entries.update(node.entries)
            return
        ((key, (_, value)),) = node.entries.items()
        for container, step in reversed(self.way):
            if isinstance(container, Mapping) and step == key:
                container.entries[key] = (container.entries[key][0], value)
                return
        if isinstance(self.way[-1][0], Sequence) and isinstance(self.node, Scalar):
            self._replace(node)
            return
        _rekey(self.mapping, self.key, key)
        self.mapping.entries[key] = (self.mapping.place, value)

    def move(self, line: YamlNode, under: str, root: YamlNode) -> None:
        assert isinstance(line, Mapping)
        group = self.mapping
        del group.entries[self.key]
        if not any(step == "shots" for _, step in self.way) and under == "axes":
            assert isinstance(root, Mapping)
            shots = root.entries["shots"][1]
            first = shots.items[0] if isinstance(shots, Sequence) else shots
            assert isinstance(first, Mapping)
            group = first
        place = group.place
        _, inside = group.entries.setdefault(under, (place, Mapping(place)))
        assert isinstance(inside, Mapping)
        inside.entries.update(line.entries)


def _rekey(mapping: Mapping, old: str, new: str) -> None:
    entries = list(mapping.entries.items())
    mapping.entries.clear()
    mapping.entries.update((new if key == old else key, value) for key, value in entries)


def _with(node: YamlNode, word: str, text: str) -> YamlNode:
    """The node with the word replaced in every scalar."""
    match node:
        case Scalar():
            bare = word.strip("_")
            return Scalar(
                node.place, node.text.replace(word if word in node.text else bare, text), node.style
            )
        case Sequence():
            return Sequence(node.place, [_with(item, word, text) for item in node.items])
    return tree.Mapping(
        node.place, {key: (place, _with(value, word, text)) for key, (place, value) in node.entries.items()}
    )
