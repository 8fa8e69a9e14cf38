"""A manifest together with the text it came from, so that every later finding can name its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from common.errors import InvalidDocument, Problem
from common.manifest.model import Manifest
from common.manifest.nodes import Node, Place, Scalar, Sequence, find, place_in
from common.manifest.wording import MAX_PATH, shortened

_INDEX = re.compile(r"\[(\d{1,9})\]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Values that came from a file: a reference in the manifest and the line of each value there."""

    file: str
    lines: tuple[int, ...]
    #: Where the manifest refers to the file.
    place: Place


@dataclass(frozen=True, slots=True)
class Text:
    """The document as read."""

    source: str
    content: str
    root: Node
    #: Dotted path of a list whose values a file gave.
    origins: dict[str, Origin] = field(default_factory=dict)

    def problem(self, path: str, message: str, offset: int | None = None) -> Problem:
        """A problem at a dotted path such as `shots[0].axes.scene[3]`, or at the nearest place above it.

        `offset` counts characters into the text at that path, such as those before an unbalanced brace.
        A value from a file is named by that file and line, with the place of the reference.
        """
        node, place, rest = find(self.root, path)
        if offset is not None and isinstance(node, Scalar) and not rest:
            place = place_in(node, self.content, offset)
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
        return Problem(message, shortened(path, MAX_PATH), place.line, place.column)


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """A valid manifest, what it was read from, and what its author should know."""

    manifest: Manifest
    text: Text
    warnings: tuple[Problem, ...] = ()
    #: What each `{file: …}` stands for, by path.
    contents: dict[str, Sequence] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return self.text.source

    def problem(self, path: str, message: str, offset: int | None = None) -> Problem:
        """See `Text.problem`. Paths are those of the manifest as typed: `shots[0].prompt`,
        `defaults.negative`, `shots[0].axes.scene[3]`, `shots[0].axes.persona[1].look`, `wildcards.job[2]`.
        """
        return self.text.problem(path, message, offset)

    def invalid(self, problems: list[Problem]) -> InvalidDocument:
        return InvalidDocument(self.source, problems)
