"""A document together with the text it came from, so that every later finding can name its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from common.document.tree import Mapping, Place, Scalar, YamlNode, find, place_in
from common.errors import Problem
from common.wording import MAX_PATH, shortened

_INDEX = re.compile(r"\[(\d{1,9})\]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Values that came from a file: a reference in the document and the line of each value there."""

    file: str
    lines: tuple[int, ...]
    #: Where the document refers to the file.
    place: Place


@dataclass(frozen=True, slots=True)
class SourceText:
    """The document as read."""

    source: str
    content: str
    root: YamlNode
    #: Other files that it is put together from, by name.
    parts: dict[str, SourceText] = field(default_factory=dict)
    #: Dotted path of a list whose values a file gave.
    origins: dict[str, Origin] = field(default_factory=dict)
    #: Where values begin, as `Place.index` counts, that a `#` made empty.
    commented: set[int] = field(default_factory=set)
    #: Whether it is JSON, where no quotes are missing around braces.
    is_json: bool = False
    #: What its author should know, and what hides nothing.
    doubts: list[Problem] = field(default_factory=list)

    def braces(self, node: YamlNode) -> str:
        """The source of a mapping that one line holds in one pair of braces; empty for any other."""
        part = self._part(node.place)
        if part.is_json:
            return ""
        line = part.content[node.place.index :].partition("\n")[0]
        inside, closed, _ = line[1:].partition("}")
        is_one = isinstance(node, Mapping) and line.startswith("{") and closed and "{" not in inside
        return f"{{{inside}}}" if is_one else ""

    def is_commented(self, place: Place) -> bool:
        """Whether a `#` made the value empty that begins here, which was told already."""
        return place.index in self._part(place).commented

    def _part(self, place: Place) -> SourceText:
        """The file that a place is in."""
        return self.parts.get(place.file, self)

    def problem(self, path: str, message: str, offset: int | None = None) -> Problem:
        """A problem at a dotted path such as `shots[0].axes.scene[3]`, or at the nearest place above it.

        `offset` counts characters into the text at that path, such as those before an unbalanced brace.
        A value from a file is named by that file and line, with the place of the reference.
        """
        node, place, rest = find(self.root, path)
        if offset is not None and isinstance(node, Scalar) and not rest:
            place = place_in(node, self._part(node.place).content, offset)
        return self.at(place, path, message, offset)

    def at(self, place: Place, path: str, message: str, offset: int | None = None) -> Problem:
        """A problem at a place already known."""
        for prefix, origin in self.origins.items():
            value = _INDEX.match(path.removeprefix(prefix)) if path.startswith(prefix) else None
            if value:
                index = int(value[1])
                line = f":{origin.lines[index]}" if index < len(origin.lines) else ""
                column = f":{offset + 1}" if line and offset is not None else ""
                message, place = f"{origin.file}{line}{column}: {message}", origin.place
        # A value that a message quotes may hold line ends.
        one_line = re.sub(r"\s*\n\s*", " ", message)
        return Problem(one_line, shortened(path, MAX_PATH), place.line, place.column, place.file)
