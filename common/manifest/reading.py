"""Collects the problems of one manifest, and reads mappings with known keys."""

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

#: More problems are not useful to read and take time to find.
MAX_FINDINGS = 100


#: The merge key of YAML 1.1.
MERGE = "<<"


class TooManyError(Exception):
    """Stops the reading after `MAX_FINDINGS` problems."""


class Warnings:
    """Warnings for the author: the first of each kind, with the number of places."""

    def __init__(self) -> None:
        self._first: dict[str, Problem] = {}
        self._places: dict[str, set[Hashable]] = {}

    def add(self, kind: str, place: Hashable, problem: Callable[[], Problem]) -> None:
        """Adds a warning; calls `problem` only for the first of its kind. Counts each place once."""
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
    """The state while a manifest is read. Problems are collected, so that all are reported at once."""

    text: SourceText
    #: None if files must not be read, as in the API.
    files: FileReader | None
    #: None if models and LoRAs are not checked.
    catalog: Catalog | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)
    #: Whether the number of problems is unlimited, because only some of them will be kept.
    endless: bool = False
    #: Maximum number of values of an axis, because each value produces at least one image.
    max_values: int = 10_000
    #: By extended file: the reader for files that it refers to. The nearest extended file is first.
    readers: Mapping[str, FileReader] = field(default_factory=dict)
    #: Whether a file could not be read and may contain what seems to be missing.
    is_partial: bool = False
    #: Names of the available presets.
    presets: Set[str] = frozenset()
    #: Names under `lists`.
    lists: Set[str] = frozenset()
    #: The values of `{file: …}` mappings, by path.
    contents: dict[str, tree.Sequence] = field(default_factory=dict)
    #: Columns that set nothing despite the name of a shot field, by the path of their axis.
    plain: dict[str, frozenset[str]] = field(default_factory=dict)

    def files_at(self, place: Place) -> FileReader | None:
        """Returns the reader for files referred to at a position; None if files must not be read."""
        return self.readers.get(place.file, self.files)

    def wrong(self, place: Place, path: str, message: str) -> None:
        """Reports a problem. Raises TooManyError once there are `MAX_FINDINGS` of them."""
        self._add(self.text.at(place, path, message))

    @contextmanager
    def once_a_column(self) -> Iterator[None]:
        """Reports problems in a file's column once, with the first row and the number of rows."""
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
        """Returns the file axis and column of a path; None if it is not in the values of a file."""
        for axis in self.text.origins:
            if path.startswith(f"{axis}["):
                _, _, column = path.removeprefix(axis).partition("]")
                return axis, column.lstrip(".").partition("[")[0]
        return None

    def _as_typed(self, axis: str, column: str) -> str:
        """Returns the heading in the file of a column known by the field that it sets."""
        rows = self.contents[axis].items if axis in self.contents else []
        keys = rows[0].entries if rows and isinstance(rows[0], tree.Mapping) else {}
        same = (key for key in keys if field_of(key) == field_of(column) is not None)
        return column if column in keys else next(same, column)

    def wrong_at(self, path: str, message: str, offset: int | None = None) -> None:
        """As `wrong`, for a path without a position; see `SourceText.problem`."""
        self._add(self.text.problem(path, message, offset))

    def warn_at(self, path: str, message: str, offset: int | None = None, kind: str = "") -> None:
        """Reports a warning. Each kind is reported once; by default, equal messages are one kind."""
        self.warnings.add(kind or message, (path, offset), lambda: self.text.problem(path, message, offset))

    def warn(self, problem: Problem, kind: str) -> None:
        """As `warn_at`, for an existing problem."""
        self.warnings.add(kind, problem.place(), lambda: problem)

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MAX_FINDINGS and not self.endless:
            raise TooManyError


class Kind(Protocol):
    """The type of a key's value: how to read it, and its JSON Schema for editors."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> Any:
        """Returns the normalised value; returns None after reporting problems."""

    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a mapping may have. Editors and the reference show `about`."""

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
    """Returns the valid values of known keys; reports everything else.

    `remedy` suggests what to write for keys that belong elsewhere.
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
                message = f"unknown key `{shortened(key)}`{_checked_hint(hint, keys, reading)}"
                reading.wrong(place, child_path(path, key), message)
    return values


#: A suggestion of a complete entry of the same mapping.
_ENTRY = re.compile(r"; write `(?P<entry>(?P<key>\w+): [^`]*)`(?! under)")


def _checked_hint(hint: str, keys: Mapping[str, Key], reading: Reading) -> str:
    """Returns a hint if its entry would be valid; otherwise a hint that contains only the key."""
    advice = _ENTRY.match(hint)
    kind = keys[advice["key"]].kind if advice and advice["key"] in keys else None
    if advice is None or kind is None:
        return hint
    if len(advice["entry"]) <= LONGEST and would_read(kind, advice["entry"], reading):
        return hint
    return f"; use `{advice['key']}`"


def would_read(kind: Kind, entry: str, reading: Reading) -> bool:
    """Returns whether the value of an entry, written as `key: value`, would be valid."""
    try:
        text, problems = read_yaml(entry, "")
    except InvalidDocument:
        return False
    scratch = Reading(text, None, reading.catalog, problems, max_values=reading.max_values)
    root = text.root
    for key, _, value in root.items() if isinstance(root, tree.Mapping) else ():
        kind.read(value, key, scratch)
    return not scratch.problems
