"""Builds a tree of nodes from YAML events, with limits against malicious documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from common.document.tree import Mapping, Place, Scalar, Sequence, YamlNode, child_path
from common.errors import Problem
from common.wording import MAX_PATH, shortened

MAX_DEPTH = 32
#: Maximum number of values in a document with all aliases expanded.
MAX_NODES = 1_000_000

#: Also used where the parser itself stops first: libyaml refuses 1,000 levels before its first event.
DEEP = f"nested deeper than {MAX_DEPTH} levels"
_KEY = "a list or mapping cannot be a key; put it in quotes"


class UnreadableError(Exception):
    """The document cannot be read any further; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    node: Mapping | Sequence
    path: str
    anchor: str | None
    #: Number of values inside with aliases expanded, including this one.
    weight: int = 1
    #: Number of levels inside with aliases expanded, including this one.
    height: int = 1
    key: tuple[str, Place] | None = None


class TreeBuilder:
    """Builds the tree iteratively, so that deep documents cannot exhaust Python's stack."""

    def __init__(self) -> None:
        self.root: YamlNode | None = None
        self.problems: list[Problem] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[YamlNode, int, int]] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1, event.start_mark.index)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._fail("contains several documents; keep one and remove the `---`", place)
            case yaml.AliasEvent():
                self._add(*self._aliased(str(event.anchor), place), place)
            case yaml.ScalarEvent():
                self._refuse_tag(event, place)
                # The final line ends of a block are rarely intended as part of the text.
                text = event.value.rstrip("\n") if event.style in ("|", ">") else event.value
                mark = event.end_mark
                scalar = Scalar(place, text, event.style or "", mark.index if mark else -1)
                self._name(event.anchor, scalar, 1, 0)
                self._add(scalar, 1, 0, place)
            case yaml.MappingStartEvent():
                self._start(Mapping(place), event, place)
            case yaml.SequenceStartEvent():
                self._start(Sequence(place), event, place)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                closed = self._open.pop()
                self._name(closed.anchor, closed.node, closed.weight, closed.height)
                self._add(closed.node, closed.weight, closed.height, closed.node.place)

    def _start(self, node: Mapping | Sequence, event: Any, place: Place) -> None:
        self._refuse_tag(event, place)
        if self._expects_key():
            self._fail(_KEY, place)
        if len(self._open) >= MAX_DEPTH:
            self._fail(DEEP, place)
        self._open.append(_Open(node, self._path(), event.anchor))

    def _problem(self, message: str, place: Place) -> Problem:
        return Problem(message, shortened(self._path(), MAX_PATH), place.line, place.column)

    def _fail(self, message: str, place: Place) -> NoReturn:
        raise UnreadableError(self._problem(message, place))

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].node, Mapping) and self._open[-1].key is None

    def _path(self) -> str:
        """Returns the path of the next value."""
        if not self._open:
            return ""
        top = self._open[-1]
        if isinstance(top.node, Sequence):
            return child_path(top.path, len(top.node.items))
        return child_path(top.path, top.key[0]) if top.key else top.path

    def _add(self, node: YamlNode, weight: int, height: int, place: Place) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        top.weight += weight
        top.height = max(top.height, height + 1)
        if len(self._open) + height > MAX_DEPTH:
            self._fail(DEEP, place)
        if top.weight > MAX_NODES:
            self._fail(f"expands to more than {MAX_NODES:,} values", place)
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
        elif top.key is None:
            self._take_key(top, top.node, node, place)
        else:
            key, key_place = top.key
            top.node.entries.setdefault(key, (key_place, node))
            top.key = None

    def _take_key(self, top: _Open, mapping: Mapping, node: YamlNode, place: Place) -> None:
        if not isinstance(node, Scalar):
            self._fail(_KEY, place)
        if node.text in mapping.entries:
            first = mapping.entries[node.text][0].line
            message = f"`{shortened(node.text)}` is given twice, first on line {first}; keep one"
            path = shortened(child_path(top.path, node.text), MAX_PATH)
            self.problems.append(Problem(message, path, place.line, place.column))
        top.key = (node.text, place)

    def _refuse_tag(self, event: Any, place: Place) -> None:
        if event.tag not in (None, "!"):
            tag = shortened(event.tag)
            message = f"tags such as `{tag}` are not supported; remove it or put the value in quotes"
            self.problems.append(self._problem(message, place))

    def _name(self, anchor: str | None, node: YamlNode, weight: int, height: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, weight, height)

    def _aliased(self, anchor: str, place: Place) -> tuple[YamlNode, int, int]:
        name = shortened(anchor)
        if any(frame.anchor == anchor for frame in self._open):
            self._fail(f"`*{name}` is inside its own anchor `&{name}`", place)
        if anchor not in self._anchors:
            self._fail(f"there is no anchor `&{name}` above; if `*{name}` is text, put it in quotes", place)
        return self._anchors[anchor]
