"""A YAML document as a tree that remembers where everything stands and how it was spelled."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from common.wording import quoted, shortened

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_RADIX_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

#: Longer digit strings are no number of any manifest, and slow to convert.
_MAX_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Place:
    """1-based, in characters; `index` counts from 0 at the document's start."""

    line: int
    column: int
    index: int = 0
    #: The file, if that is not the document itself but one that it extends.
    file: str = ""


@dataclass(frozen=True, slots=True)
class Scalar:
    place: Place
    #: Content after unquoting and folding, otherwise in its source spelling.
    text: str
    #: `""` for plain, `'`, `"`, `|` or `>`.
    style: str = ""
    #: Where it ends in the source, as `Place.index` counts; -1 for what was not read from one.
    end: int = field(default=-1, compare=False)

    @property
    def kind(self) -> str:
        """What the YAML 1.2 core schema takes it for: `null`, `bool`, `int`, `float` or `text`."""
        if self.style:
            return "text"
        for kind, pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("int", _RADIX_INT)):
            if pattern.fullmatch(self.text):
                return kind
        return "float" if _FLOAT.fullmatch(self.text) or _NOT_FINITE.fullmatch(self.text) else "text"

    def number(self) -> int | float | None:
        """The number it spells; None if it is none. Too many digits read as infinite."""
        kind = self.kind
        if kind not in ("int", "float"):
            return None
        if _NOT_FINITE.fullmatch(self.text):
            return float(self.text.replace(".", ""))
        if len(self.text) > _MAX_DIGITS:
            return float("inf")
        if kind == "float":
            return float(self.text)
        if _RADIX_INT.fullmatch(self.text):
            return int(self.text, 0)
        return int(self.text)

    def decimal(self) -> Decimal | None:
        """The finite number it spells, with the digits it is written with; None if it is none."""
        number = self.number()
        if number is None or not math.isfinite(number):
            return None
        # Octal and hexadecimal spellings have no decimal reading of their own.
        return Decimal(number) if _RADIX_INT.fullmatch(self.text) else Decimal(self.text)


@dataclass(frozen=True, slots=True)
class Sequence:
    place: Place
    items: list[YamlNode] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    place: Place
    #: Key to the key's own place and the value.
    entries: dict[str, tuple[Place, YamlNode]] = field(default_factory=dict)

    def get(self, key: str) -> YamlNode | None:
        entry = self.entries.get(key)
        return entry[1] if entry else None

    def items(self) -> Iterator[tuple[str, Place, YamlNode]]:
        for key, (place, node) in self.entries.items():
            yield key, place, node


YamlNode = Scalar | Sequence | Mapping


def described(node: YamlNode) -> str:
    """What stands where something else should."""
    match node:
        case Sequence():
            return "a list" if node.items else "an empty list"
        case Mapping():
            return "a mapping" if node.entries else "an empty mapping"
        case Scalar() if node.kind == "null":
            return "nothing"
    quoted = node.style and Scalar(node.place, node.text).kind in ("int", "float", "bool")
    return f"`{shortened(node.text)}`{' in quotes' if quoted else ''}"


def spelling(node: YamlNode) -> str:
    """How a value reads where a text refers to it."""
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return ", ".join(spelling(item) for item in node.items)
    return ", ".join(f"{key} {spelling(value)}" for key, _, value in node.items())


#: Texts that need no quotes inside brackets.
_PLAIN = re.compile(r"""[^\s\[\]{},#&*!|>'"%@`?:-](?:[^\[\]{},#\n\\]*[^\s\[\]{},#:\\])?""")


def flow(node: YamlNode) -> str:
    """A value as it is written inside brackets: `[a, "1"]`, `{name: ana}`."""
    match node:
        case Sequence():
            return f"[{', '.join(flow(item) for item in node.items)}]"
        case Mapping():
            return f"{{{', '.join(f'{key}: {flow(value)}' for key, _, value in node.items())}}}"
    looks_like_text = Scalar(node.place, node.text).kind == "text"
    if not node.style and not looks_like_text:
        return node.text
    if looks_like_text and _PLAIN.fullmatch(node.text) and ": " not in node.text:
        return node.text
    return quoted(node.text)


_INDEX = re.compile(r"\[(\d{1,9})\]")
_KEY_END = re.compile(r"[.\[]")


def child_path(path: str, key: str | int) -> str:
    """The dotted path of a child: `shots[0].axes.scene`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def find(root: YamlNode, path: str) -> tuple[YamlNode, Place, str]:
    """The deepest node on the way to `path` that exists, its place, and the rest of the path below it.

    The place of a mapping or list is that of its key, which is what a reader looks for.
    """
    node, place, at = root, root.place, 0
    while at < len(path):
        index = _INDEX.match(path, at)
        if index is None:
            key, end = _key(node, path, at + (path[at] == "."))
            if key is None or not isinstance(node, Mapping):
                break
            place, node = node.entries[key]
        elif isinstance(node, Sequence) and int(index[1]) < len(node.items):
            node, end = node.items[int(index[1])], index.end()
            place = node.place
        elif isinstance(node, Mapping) and isinstance(values := node.get("values"), Sequence):
            # The long form of an axis, `{values: [...], expand: true}`.
            return find(values, path[at:])
        else:
            break
        at = end
    return node, node.place if isinstance(node, Scalar) else place, path[at:].lstrip(".")


def _key(node: YamlNode, path: str, start: int) -> tuple[str | None, int]:
    """The key of a mapping that a path goes on with at `start`, and where it ends; keys may hold dots."""
    keys = node.entries if isinstance(node, Mapping) else {}
    for end in (*(match.start() for match in _KEY_END.finditer(path, start)), len(path)):
        if path[start:end] in keys:
            return path[start:end], end
    return None, start


def place_in(scalar: Scalar, source: str, offset: int) -> Place:
    """Where character `offset` of a scalar's text stands in the source it was read from.

    Follows the text through quotes, folding and block indentation; the scalar's own place where an
    escape such as `\\u00e9` hides a character.
    """
    at = scalar.place.index
    if scalar.style in ("|", ">"):
        at = source.find("\n", at) + 1
    elif scalar.style:
        at += 1
    for number, char in enumerate(scalar.text):
        if char.isspace():
            at += at < len(source) and source[at].isspace()
            continue
        while at < len(source) and source[at] != char and (source[at].isspace() or source[at] in "\\'\""):
            at += 1
        if at >= len(source) or source[at] != char:
            return scalar.place
        if number >= offset:
            break
        at += 1
    line_start = source.rfind("\n", 0, at) + 1
    line = scalar.place.line + source.count("\n", scalar.place.index, at)
    return Place(line, at - line_start + 1, at, scalar.place.file)


def in_file(node: YamlNode, file: str) -> YamlNode:
    """The tree with every place in `file`; what anchors share stays shared."""
    return _in_file(node, file, {})


def _in_file(node: YamlNode, file: str, done: dict[int, YamlNode]) -> YamlNode:
    if id(node) in done:
        return done[id(node)]
    place = replace(node.place, file=file)
    moved: YamlNode
    match node:
        case Scalar():
            moved = replace(node, place=place)
        case Sequence():
            moved = Sequence(place, [_in_file(item, file, done) for item in node.items])
        case Mapping():
            moved = Mapping(
                place,
                {
                    key: (replace(key_place, file=file), _in_file(value, file, done))
                    for key, key_place, value in node.items()
                },
            )
    done[id(node)] = moved
    return moved
