"""One reading of a manifest: where problems gather, and how a mapping with known keys is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from common.catalog import Catalog
from common.document import tree
from common.document.source import SourceText
from common.document.syntax import odd_syntax
from common.document.tree import Place, YamlNode, child_path, described
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.manifest.aliases import column_remedy, field_of
from common.manifest.files import FileReader
from common.manifest.key_remedies import KeyRemedy, after_comma, odd_indentation
from common.manifest.value_remedies import LONGEST
from common.wording import listed, shortened, suggestion

#: Nobody reads more at once, and finding them costs time.
MAX_FINDINGS = 100


#: The merge key of YAML 1.1.
MERGE = "<<"


class TooManyError(Exception):
    """Ends a reading that has found `MAX_FINDINGS` problems."""


class Warnings:
    """What the author should know: of each kind the first, with the number of places where it stands."""

    def __init__(self) -> None:
        self._first: dict[str, Problem] = {}
        self._places: dict[str, set[Hashable]] = {}

    def add(self, kind: str, place: Hashable, problem: Callable[[], Problem]) -> None:
        """`problem` is made for the first of its kind; the same place counts once."""
        if kind not in self._first and len(self._first) < MAX_FINDINGS:
            self._first[kind] = problem()
        self._places.setdefault(kind, set()).add(place)

    def told(self) -> tuple[Problem, ...]:
        return tuple(self._counted(problem, len(self._places[kind])) for kind, problem in self._first.items())

    @staticmethod
    def _counted(problem: Problem, count: int) -> Problem:
        if count == 1:
            return problem
        return replace(problem, message=f"{problem.message} ({count:,} times, first here)")


@dataclass(slots=True)
class Reading:
    """What is known while a manifest is read. Problems are gathered, so that all are told at once."""

    text: SourceText
    #: None where files may not be read, as in the API.
    files: FileReader | None
    #: None where nobody asks whether models and LoRAs exist.
    catalog: Catalog | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)
    #: Whether problems are told without end, because only some of them will be kept.
    endless: bool = False
    #: No axis may have more values: each of them makes at least one image.
    max_values: int = 10_000
    #: What reads the files that another file of `text.parts` refers to, the nearest first.
    readers: Mapping[str, FileReader] = field(default_factory=dict)
    #: Whether a file could not be read that may hold what is missing.
    is_partial: bool = False
    #: Names of the presets that places may take on.
    presets: Set[str] = frozenset()
    #: Names under `lists`.
    lists: Set[str] = frozenset()
    #: What `{file: …}` mappings stand for, by path.
    contents: dict[str, tree.Sequence] = field(default_factory=dict)
    #: Columns that set nothing though they are called like a shot field, by the path of their axis.
    plain: dict[str, frozenset[str]] = field(default_factory=dict)

    def files_at(self, place: Place) -> FileReader | None:
        """What reads files that are referred to at a place."""
        return self.readers.get(place.file, self.files)

    def wrong(self, place: Place, path: str, message: str) -> None:
        """Raises TooManyError where a document is so broken that the rest would only repeat itself."""
        self._add(self.text.at(place, path, message))

    @contextmanager
    def once_a_column(self) -> Iterator[None]:
        """What is wrong inside with a column of a file is told once, with its first row and their number."""
        before, self.problems, self.endless = self.problems, [], True
        yield
        found, self.problems, self.endless = self.problems, before, False
        columns: dict[tuple[str, str], list[Problem]] = {}
        for problem in found:
            axis, column = self._column(problem.path) or (problem.path, "")
            columns.setdefault((axis, self._as_typed(axis, column)), []).append(problem)
        for (_, column), (first, *others) in columns.items():
            count = f" ({len(others) + 1:,} rows are like this, first here)" if others else ""
            remedy = "" if "; write `" in first.message else column_remedy(column)
            message = f"{first.message}{remedy}{count}"
            self._add(replace(first, message=message))

    def _column(self, path: str) -> tuple[str, str] | None:
        """The axis whose values a file gave, and the column, that a path leads to."""
        for axis in self.text.origins:
            if path.startswith(f"{axis}["):
                _, _, column = path.removeprefix(axis).partition("]")
                return axis, column.lstrip(".").partition("[")[0]
        return None

    def _as_typed(self, axis: str, column: str) -> str:
        """The heading in the file of a column that is known by the field it sets."""
        rows = self.contents[axis].items if axis in self.contents else []
        keys = rows[0].entries if rows and isinstance(rows[0], tree.Mapping) else {}
        same = (key for key in keys if field_of(key) == field_of(column) is not None)
        return column if column in keys else next(same, column)

    def wrong_at(self, path: str, message: str, offset: int | None = None) -> None:
        """The same where only the path is known; see `SourceText.problem`."""
        self._add(self.text.problem(path, message, offset))

    def warn_at(self, path: str, message: str, offset: int | None = None, kind: str = "") -> None:
        """Warnings of one kind are told once, with their number; equal messages are of one kind."""
        self.warnings.add(kind or message, (path, offset), lambda: self.text.problem(path, message, offset))

    def warn(self, problem: Problem, kind: str) -> None:
        """The same for a warning that was made already."""
        self.warnings.add(kind, problem.place(), lambda: problem)

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MAX_FINDINGS and not self.endless:
            raise TooManyError


class Kind(Protocol):
    """What a key's value may be: how it is read, and its JSON Schema for editors."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> Any:
        """The normalised value; None after reporting what is wrong with it."""

    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Key:
    """A key a mapping may have. `about` is shown by editors and in the reference."""

    kind: Kind
    about: str


def read_keys(
    node: YamlNode,
    path: str,
    keys: Mapping[str, Key],
    reading: Reading,
    *,
    remedy: KeyRemedy | None = None,
) -> dict[str, Any]:
    """The values of a mapping's known keys that are right; everything else is reported.

    `remedy` knows what to write for keys that belong elsewhere.
    """
    if not isinstance(node, tree.Mapping):
        known = listed(list(keys)[:4])
        typed = odd_syntax(node.text) if isinstance(node, tree.Scalar) and not node.style else None
        hint = f"; {typed[1]}" if typed else ""
        reading.wrong(
            node.place, path, f"must be a mapping with keys such as {known}, not {described(node)}{hint}"
        )
        return {}
    values: dict[str, Any] = {}
    for key, place, value in node.items():
        if key in keys:
            read = keys[key].kind.read(value, child_path(path, key), reading)
            if read is not None:
                values[key] = read
        elif key == MERGE:
            reading.wrong(place, child_path(path, key), "YAML 1.2 has no merge keys; use `defaults`")
        else:
            found = odd_indentation(key, place, node) or (remedy(key, node) if remedy else None)
            if found != "":
                hint = found or after_comma(key, node) or suggestion(key, keys) or "; remove it"
                message = f"unknown key `{shortened(key)}`{_proven(hint, keys, reading)}"
                reading.wrong(place, child_path(path, key), message)
    return values


#: Advice of a whole entry of the same mapping.
_ENTRY = re.compile(r"; write `(?P<entry>(?P<key>\w+): [^`]*)`(?! under)")


def _proven(hint: str, keys: Mapping[str, Key], reading: Reading) -> str:
    """A hint whose entry would be right; of another only which key it is for."""
    advice = _ENTRY.match(hint)
    kind = keys[advice["key"]].kind if advice and advice["key"] in keys else None
    if advice is None or kind is None:
        return hint
    if len(advice["entry"]) <= LONGEST and would_read(kind, advice["entry"], reading):
        return hint
    return f"; its name here is `{advice['key']}`"


def would_read(kind: Kind, entry: str, reading: Reading) -> bool:
    """Whether the value of an entry, written as `key: value`, would be right."""
    try:
        text, problems = read_yaml(entry, "")
    except InvalidDocument:
        return False
    scratch = Reading(text, None, reading.catalog, problems, max_values=reading.max_values)
    root = text.root
    for key, _, value in root.items() if isinstance(root, tree.Mapping) else ():
        kind.read(value, key, scratch)
    return not scratch.problems
