"""Problems and warnings found during expansion, each reported once."""

from __future__ import annotations

from collections.abc import Sequence

from common.document.source import Origin
from common.errors import InvalidDocument, Problem
from common.manifest.model import Manifest
from common.manifest.parse import ParsedManifest
from common.manifest.reading import Warnings
from coordinator.expand.dimensions import Value

#: Maximum rows named in one message.
_ROWS = 8


class Findings:
    """Collects problems and warnings, so that all of them are reported together."""

    def __init__(self, source: Manifest | ParsedManifest) -> None:
        self._source = source
        self._problems: dict[Problem, None] = {}
        self._warnings = Warnings()

    def wrong(self, path: str, message: str, offset: int | None = None) -> None:
        """Records a problem; `offset` is the character position in the text at `path`."""
        self._problems[self._at(path, message, offset)] = None

    def warn(self, path: str, message: str, offset: int | None = None, kind: str = "") -> None:
        """Records a warning; warnings of one `kind` (default: the message) are reported once, counted."""
        self._warnings.add(kind or message, (path, offset), lambda: self._at(path, message, offset))

    def origin(self, path: str) -> Origin | None:
        """The file that contains the values at a path."""
        return self._source.text.origins.get(path) if isinstance(self._source, ParsedManifest) else None

    def rows(self, values: Sequence[Value]) -> str:
        """Positions such as `lines 3 and 7`: lines in the file, else numbers within the axis."""
        origin = self.origin(values[0].parent)
        if origin:
            numbers = [origin.lines[value.position] for value in values if value.parent == values[0].parent]
        else:
            numbers = [value.position + 1 for value in values]
        shown = [str(number) for number in dict.fromkeys(numbers)]
        noun = "line" if origin else "value"
        if len(shown) > _ROWS:
            return f"{noun}s {', '.join(shown[:_ROWS])} …"
        *most, last = shown
        return f"{noun}s {', '.join(most)} and {last}" if most else f"{noun} {last}"

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return self._warnings.told()

    def raise_any(self) -> None:
        """Raises `InvalidDocument` with every problem, if there is one."""
        if self._problems:
            raise self._invalid(list(self._problems))

    def invalid(self, path: str, message: str, offset: int | None = None) -> InvalidDocument:
        """An error found after expansion."""
        return self._invalid([self._at(path, message, offset)])

    def _invalid(self, problems: list[Problem]) -> InvalidDocument:
        name = self._source.source if isinstance(self._source, ParsedManifest) else "manifest"
        return InvalidDocument(name, problems)

    def _at(self, path: str, message: str, offset: int | None) -> Problem:
        if isinstance(self._source, ParsedManifest):
            return self._source.problem(path, message, offset)
        return Problem(message, path, column=None if offset is None else offset + 1)
