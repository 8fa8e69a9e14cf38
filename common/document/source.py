"""A document with its source text, so that later checks can report line and column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from common.document.tree import Mapping, Place, Scalar, YamlNode, find, place_in
from common.errors import Problem
from common.wording import MAX_PATH, shortened

_INDEX = re.compile(r"\[(\d{1,9})\]")


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that supplied the values of a list, and the line of each value in the file."""

    file: str
    lines: tuple[int, ...]
    #: Position of the reference in the document.
    place: Place


@dataclass(frozen=True, slots=True)
class SourceText:
    """A document as read."""

    source: str
    content: str
    root: YamlNode
    #: Other files merged into the document, by name.
    parts: dict[str, SourceText] = field(default_factory=dict)
    #: Keys are dotted paths of lists whose values come from a file.
    origins: dict[str, Origin] = field(default_factory=dict)
    #: Start positions (`Place.index`) of values that a `#` made empty.
    commented: set[int] = field(default_factory=set)
    #: Whether the document is JSON, in which braces cannot lack quotes.
    is_json: bool = False
    #: Warnings, which do not prevent further checks.
    doubts: list[Problem] = field(default_factory=list)

    def braces(self, node: YamlNode) -> str:
        """Returns the source of a mapping in a single pair of braces on one line; empty for other nodes."""
        part = self._part(node.place)
        if part.is_json:
            return ""
        line = part.content[node.place.index :].partition("\n")[0]
        inside, closed, _ = line[1:].partition("}")
        is_one = isinstance(node, Mapping) and line.startswith("{") and closed and "{" not in inside
        return f"{{{inside}}}" if is_one else ""

    def is_commented(self, place: Place) -> bool:
        """Returns whether a `#` made the value at this position empty, which has been reported already."""
        return place.index in self._part(place).commented

    def _part(self, place: Place) -> SourceText:
        """Returns the file that contains a position."""
        return self.parts.get(place.file, self)

    def problem(self, path: str, message: str, offset: int | None = None) -> Problem:
        """Returns a problem at a path such as `shots[0].axes.scene[3]`, or at its nearest existing parent.

        `offset` counts characters into the text at that path, such as those before an unbalanced brace. For a
        value from a file, the message names the file and line, and the problem has the position of the
        reference.
        """
        node, place, rest = find(self.root, path)
        if offset is not None and isinstance(node, Scalar) and not rest:
            place = place_in(node, self._part(node.place).content, offset)
        return self.at(place, path, message, offset)

    def at(self, place: Place, path: str, message: str, offset: int | None = None) -> Problem:
        """Returns a problem at a known position."""
        for prefix, origin in self.origins.items():
            value = _INDEX.match(path.removeprefix(prefix)) if path.startswith(prefix) else None
            if value:
                index = int(value[1])
                line = f":{origin.lines[index]}" if index < len(origin.lines) else ""
                column = f":{offset + 1}" if line and offset is not None else ""
                message, place = f"{origin.file}{line}{column}: {message}", origin.place
        # Values quoted in a message may contain line breaks.
        one_line = re.sub(r"\s*\n\s*", " ", message)
        return Problem(one_line, shortened(path, MAX_PATH), place.line, place.column, place.file)
