"""A YAML document as a tree that keeps the position and spelling of every value."""

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

#: Longer digit strings do not occur in valid manifests and are slow to convert.
_MAX_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Place:
    """A position in characters: `line` and `column` start at 1, `index` starts at 0."""

    line: int
    column: int
    index: int = 0
    #: The extended file that contains the position; empty for the document itself.
    file: str = ""


@dataclass(frozen=True, slots=True)
class Scalar:
    place: Place
    #: The content after unquoting and folding, otherwise as spelled in the source.
    text: str
    #: `""` for plain scalars, otherwise `'`, `"`, `|` or `>`.
    style: str = ""
    #: End position in the source (as `Place.index`); -1 if the scalar was not read from a source.
    end: int = field(default=-1, compare=False)

    @property
    def kind(self) -> str:
        """The type in the YAML 1.2 core schema: `null`, `bool`, `int`, `float` or `text`."""
        if self.style:
            return "text"
        for kind, pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("int", _RADIX_INT)):
            if pattern.fullmatch(self.text):
                return kind
        return "float" if _FLOAT.fullmatch(self.text) or _NOT_FINITE.fullmatch(self.text) else "text"

    def number(self) -> int | float | None:
        """Returns the number, or None if the text is not a number. Too many digits are read as infinity."""
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
        """Returns the finite number with its digits as written, or None if the text is not one."""
        number = self.number()
        if number is None or not math.isfinite(number):
            return None
        # Decimal cannot parse octal and hexadecimal numbers.
        return Decimal(number) if _RADIX_INT.fullmatch(self.text) else Decimal(self.text)


@dataclass(frozen=True, slots=True)
class Sequence:
    place: Place
    items: list[YamlNode] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    place: Place
    #: Key to the position of the key, and the value.
    entries: dict[str, tuple[Place, YamlNode]] = field(default_factory=dict)

    def get(self, key: str) -> YamlNode | None:
        entry = self.entries.get(key)
        return entry[1] if entry else None

    def items(self) -> Iterator[tuple[str, Place, YamlNode]]:
        for key, (place, node) in self.entries.items():
            yield key, place, node


YamlNode = Scalar | Sequence | Mapping


def described(node: YamlNode) -> str:
    """Describes an unexpected value for a message."""
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
    """Returns the text that references to a value read."""
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return ", ".join(spelling(item) for item in node.items)
    return ", ".join(f"{key} {spelling(value)}" for key, _, value in node.items())


#: Texts that need no quotes inside brackets.
_PLAIN = re.compile(r"""[^\s\[\]{},#&*!|>'"%@`?:-](?:[^\[\]{},#\n\\]*[^\s\[\]{},#:\\])?""")


def flow(node: YamlNode) -> str:
    """Returns a value as written inside brackets: `[a, "1"]`, `{name: ana}`."""
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
    """Returns the dotted path of a child: `shots[0].axes.scene`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def find(root: YamlNode, path: str) -> tuple[YamlNode, Place, str]:
    """Returns the deepest existing node on `path`, its position, and the remaining path below it.

    The position of a mapping or list is that of its key, where readers look for it.
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
    """Returns the mapping key at `start` of a path, and its end. Keys may contain dots."""
    keys = node.entries if isinstance(node, Mapping) else {}
    for end in (*(match.start() for match in _KEY_END.finditer(path, start)), len(path)):
        if path[start:end] in keys:
            return path[start:end], end
    return None, start


def place_in(scalar: Scalar, source: str, offset: int) -> Place:
    """Returns the source position of character `offset` of a scalar's text.

    Takes quotes, folding and block indentation into account. Returns the position of the scalar itself if an
    escape such as `\\u00e9` makes the characters differ.
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
    """Returns the tree with every position in `file`. Nodes shared by anchors remain shared."""
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
