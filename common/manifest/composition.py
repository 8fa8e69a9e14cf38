"""Merges the files of a manifest: those that it `extends`, its preset files, and its `lists`.

The result is one tree in which each value knows its file and position.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TypeGuard, TypeVar

from common.document import tree
from common.document.json_tree import is_json, read_json
from common.document.source import SourceText
from common.document.tree import Place, Scalar, YamlNode, child_path, described, in_file
from common.document.yaml12 import decoded, read_yaml
from common.errors import InvalidDocument, Problem
from common.manifest.aliases import field_of
from common.manifest.files import FileReader, UnusableFileError
from common.manifest.list_files import NO_OPTIONS, read_table
from common.manifest.plain_values import Version
from common.manifest.shot_keys import VALUE_KEYS
from common.wording import nearest, shortened, suggestion

#: Maximum depth of files that extend each other.
MAX_DEPTH = 10
#: Maximum number of files in one `extends`.
MAX_BASES = 100

#: Parts that are merged with the base key by key; other parts replace those of the base.
MERGED = ("defaults", "output", "limits", "wildcards", "presets", "lists")
#: Keys that are not inherited.
_OWN = ("version", "name", "extends")

#: Files read as a document; other files contain presets as rows of a table.
_DOCUMENTS = (".yaml", ".yml", ".json")


Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Composition:
    """A document merged with everything that it extends."""

    text: SourceText
    problems: list[Problem]
    #: By extended file: the reader for files that it refers to. The nearest extended file is first.
    readers: Mapping[str, FileReader]
    #: Whether a part could not be read and may therefore contain what seems to be missing.
    is_partial: bool
    #: Names of the lists, which have replaced their references.
    lists: frozenset[str] = frozenset()


def document(content: str | bytes, source: str) -> tuple[SourceText, list[Problem]]:
    """Returns the tree of a manifest in YAML or JSON, and its problems. Raises InvalidDocument."""
    text = decoded(content, source)
    if not (source.lower().endswith(".json") or is_json(text)):
        return read_yaml(text, source)
    try:
        return read_json(text, source)
    except InvalidDocument as broken:
        # YAML in braces may begin like JSON.
        with suppress(InvalidDocument):
            return read_yaml(text, source)
        raise broken from None


def composed(text: SourceText, files: FileReader | None) -> Composition:
    """Returns the document with bases merged, preset files read and references to lists replaced."""
    composer = _Composer(text, files)
    root = text.root
    if isinstance(root, tree.Mapping):
        root = composer.lists_placed(composer.merged(root, files, []))
    return Composition(
        replace(text, root=root, parts=composer.parts),
        composer.problems,
        composer.readers,
        composer.is_partial,
        composer.lists,
    )


@dataclass(slots=True)
class _Composer:
    text: SourceText
    files: FileReader | None
    problems: list[Problem] = field(default_factory=list)
    parts: dict[str, SourceText] = field(default_factory=dict)
    readers: dict[str, FileReader] = field(default_factory=dict)
    is_partial: bool = False
    lists: frozenset[str] = frozenset()
    #: Files that have been merged already.
    _merged: dict[str, tree.Mapping] = field(default_factory=dict)

    def merged(self, root: tree.Mapping, files: FileReader | None, above: list[str]) -> tree.Mapping:
        """Returns the root of a file merged with its bases; `above` are the files that extend it."""
        own = self._with_presets(root, files)
        if "extends" not in own.entries:
            return own
        chain = [*above, root.place.file or posixpath.normpath(self.text.source)]
        references = self._references(own.entries["extends"][1], "extends")
        # In reverse, because `readers` must have the nearest file first.
        bases = [self._base(*each, files, chain) for each in reversed(references)]
        result = tree.Mapping(own.place)
        for base in reversed(bases):
            result = _over(result, _without(base, _OWN) if base else tree.Mapping(own.place))
        return _over(result, _without(own, ("extends",)))

    def _references(self, node: YamlNode, path: str) -> list[tuple[Scalar, str]]:
        """Returns the file names under a key, each with its path."""
        if isinstance(node, tree.Sequence) and len(node.items) > MAX_BASES:
            self._wrong(node.place, path, f"lists {len(node.items):,} files; the limit is {MAX_BASES}")
            return []
        items = node.items if isinstance(node, tree.Sequence) else [node]
        found = [item for item in items if isinstance(item, Scalar) and item.kind != "null" and item.text]
        if not items or len(found) < len(items):
            wrong = next((item for item in items if item not in found), node)
            file = wrong.get("file") if isinstance(wrong, tree.Mapping) else None
            hint = f"; write `{shortened(file.text)}`" if isinstance(file, Scalar) else ""
            message = f"must be a file name or a list of them, not {described(wrong)}{hint}"
            self._wrong(wrong.place, path, message)
        several = isinstance(node, tree.Sequence)
        return [(item, f"{path}[{items.index(item)}]" if several else path) for item in found]

    def _base(
        self, reference: Scalar, path: str, files: FileReader | None, chain: list[str]
    ) -> tree.Mapping | None:
        """Returns the merged root of an extended file; returns None after reporting why there is none."""
        name = self._shown(reference)
        if name in chain:
            circle = " > ".join(shortened(each) for each in [*chain[chain.index(name) :], name])
            self._wrong(
                reference.place, path, f"`{shortened(name)}` extends itself: {circle}; remove one of them"
            )
            return None
        if len(chain) > MAX_DEPTH:
            self._wrong(reference.place, path, f"`extends` is nested deeper than {MAX_DEPTH} files")
            return None
        if name not in self._merged:
            root = self._read(reference, path, files, "extends")
            if root is None or files is None:
                return None
            if not isinstance(root, tree.Mapping):
                message = f"must be a mapping that starts with `version: 1`, not {described(root)}"
                self._wrong(root.place, "", message)
                return None
            self._check_version(root)
            self.readers[name] = files.beside(reference.text)
            self._merged[name] = self.merged(root, self.readers[name], chain)
        return self._merged[name]

    def _shown(self, reference: Scalar) -> str:
        """Returns the path of a file, relative to the same folder as the name of the manifest."""
        folder = posixpath.dirname(reference.place.file or self.text.source)
        return posixpath.normpath(posixpath.join(folder, reference.text))

    def _read(self, reference: Scalar, path: str, files: FileReader | None, key: str) -> YamlNode | None:
        """Returns the root of a file; returns None after reporting why it cannot be read."""
        if files is None:
            word = f"`{key}: {shortened(reference.text)}`"
            message = f"{word} cannot be read here; use `farm submit`, which sends the contents"
            self._wrong(reference.place, path, message)
            return None
        name = self._shown(reference)
        found = self._loaded(reference, path, lambda: document(files.read(reference.text), name))
        if found is None:
            return None
        text, problems = found
        self._add(problems, name)
        root = in_file(text.root, name)
        doubts = [replace(doubt, file=name) for doubt in text.doubts]
        self.parts[name] = replace(text, root=root, doubts=doubts)
        return root

    def _check_version(self, root: tree.Mapping) -> None:
        """Reports a base with a missing or wrong version."""
        version = root.get("version")
        problem = (
            "`version` is missing; write `version: 1`" if version is None else Version().problem(version)
        )
        if problem:
            place = root.place if version is None else version.place
            self._add([Problem(problem, "version" if version else "", place.line, place.column)], place.file)

    def _with_presets(self, root: tree.Mapping, files: FileReader | None) -> tree.Mapping:
        """Returns the root with presets from files; presets beside `presets: {file: NAME}` override them."""
        presets = root.get("presets")
        if not isinstance(presets, tree.Mapping) or isinstance(presets.get("file"), tree.Mapping | None):
            return root
        found = tree.Mapping(presets.place)
        for reference, path in self._references(presets.entries["file"][1], "presets.file"):
            found.entries.update(self._presets(reference, path, files).entries)
        found.entries.update(_without(presets, ("file",)).entries)
        entries = root.entries | {"presets": (root.entries["presets"][0], found)}
        return tree.Mapping(root.place, entries)

    def _presets(self, reference: Scalar, path: str, files: FileReader | None) -> tree.Mapping:
        """Returns the presets of a file by name; it is a mapping, a manifest, or rows that have a `name`."""
        name = self._shown(reference)
        root: YamlNode | None
        if files is None or PurePath(name).suffix.lower() in _DOCUMENTS:
            root = self._read(reference, path, files, "file")
        else:
            root = self._table(reference, path, files)
        if isinstance(root, tree.Mapping):
            of_manifest = root.get("presets") if "version" in root.entries else None
            return of_manifest if isinstance(of_manifest, tree.Mapping) else root
        found = tree.Mapping(reference.place)
        if isinstance(root, tree.Sequence):
            for row in root.items:
                self._add_row(row, found)
        elif root is not None:
            message = f"must be a mapping of names to presets, or a list of them, not {described(root)}"
            self._wrong(root.place, "", message)
        return found

    def _table(self, reference: Scalar, path: str, files: FileReader) -> YamlNode | None:
        """Returns the rows of a table; returns None after reporting why it cannot be read."""
        table = self._loaded(reference, path, lambda: read_table(reference.text, files, NO_OPTIONS))
        if table is None:
            return None
        name = self._shown(reference)
        rows = in_file(table.rows, name)
        self.parts[name] = SourceText(name, "", rows)
        return rows

    def _loaded(self, reference: Scalar, path: str, load: Callable[[], Loaded]) -> Loaded | None:
        """Returns the result of `load` for a referenced file; returns None after reporting why it failed."""
        try:
            return load()
        except UnusableFileError as error:
            self._unusable(reference, path, error)
        except InvalidDocument as error:
            self._add(error.problems, self._shown(reference))
            self.is_partial = True
        return None

    def _add_row(self, row: YamlNode, found: tree.Mapping) -> None:
        """Adds a preset given as a row; ignores empty cells and unrelated columns."""
        cells = row.entries if isinstance(row, tree.Mapping) else {}
        key = next((each for each in cells if each.lower() == "name"), "")
        name = cells[key][1] if key else None
        if not (isinstance(name, Scalar) and name.text):
            self._wrong(row.place, "presets", "is not a named preset; give it a `name`", is_partial=False)
        elif name.text in found.entries:
            first = found.entries[name.text][0].line
            message = f"is given twice, first on line {first}; keep one"
            self._wrong(name.place, child_path("presets", name.text), message, is_partial=False)
        else:
            settings = {
                column: entry
                for column, entry in cells.items()
                if column != key and _may_set(column) and not _is_empty(entry[1])
            }
            found.entries[name.text] = (name.place, tree.Mapping(row.place, settings))

    def lists_placed(self, root: tree.Mapping) -> tree.Mapping:
        """Returns the root with each axis `{list: NAME}` replaced by the list, and without `lists`."""
        lists = root.get("lists")
        if not isinstance(lists, tree.Mapping | None):
            message = f"must be a mapping of names to values, not {described(lists)}" if lists else ""
            self._wrong(root.entries["lists"][1].place, "lists", message)
        known = lists.entries if isinstance(lists, tree.Mapping) else {}
        self.lists = frozenset(known)
        entries = dict(_without(root, ("lists",)).entries)
        shots = root.get("shots")
        if isinstance(shots, tree.Sequence) and any(True for _ in _list_axes(shots)):
            groups = [self._with_lists(group, number, known) for number, group in enumerate(shots.items)]
            entries["shots"] = (entries["shots"][0], tree.Sequence(shots.place, groups))
        return tree.Mapping(root.place, entries)

    def _with_lists(
        self, group: YamlNode, number: int, known: Mapping[str, tuple[Place, YamlNode]]
    ) -> YamlNode:
        axes = group.get("axes") if isinstance(group, tree.Mapping) else None
        if not isinstance(axes, tree.Mapping) or not isinstance(group, tree.Mapping):
            return group
        path = f"shots[{number}].axes"
        placed = {
            name: (place, self._placed(value, child_path(path, name), known))
            for name, place, value in axes.items()
        }
        axes_entry = (group.entries["axes"][0], tree.Mapping(axes.place, placed))
        return tree.Mapping(group.place, group.entries | {"axes": axes_entry})

    def _placed(self, axis: YamlNode, path: str, known: Mapping[str, tuple[Place, YamlNode]]) -> YamlNode:
        """Returns the list that an axis names; returns the axis itself if it names none or an invalid one."""
        if not _names_list(axis):
            return axis
        name = axis.entries["list"][1]
        others = [key for key in axis.entries if key not in ("list", "expand")]
        if others:
            place = axis.entries[others[0]][0]
            message = (
                f"`{shortened(others[0])}` cannot be combined with `list`; write it where the list is defined"
            )
            self._wrong(place, child_path(path, others[0]), message, is_partial=False)
        elif not isinstance(name, Scalar) or name.text not in known:
            word = name.text if isinstance(name, Scalar) else described(name)
            hint = suggestion(word, known) or ("" if known else "; list its values under `lists:`")
            if not self.is_partial:
                self._wrong(name.place, path, f"unknown list `{shortened(word)}`{hint}", is_partial=False)
        else:
            values = known[name.text][1]
            if _names_list(values):
                message = f"list `{shortened(name.text)}` refers to another list; write its values"
                self._wrong(values.place, child_path("lists", name.text), message, is_partial=False)
                return axis
            return _expanding(values, axis.entries.get("expand"))
        return axis

    def _unusable(self, reference: Scalar, path: str, error: UnusableFileError) -> None:
        line = f" on line {error.line}" if error.line else ""
        self._wrong(reference.place, path, f"file `{shortened(reference.text)}`{line} {error}")

    def _add(self, problems: Iterable[Problem], file: str) -> None:
        self.problems += [replace(problem, file=file) for problem in problems]

    def _wrong(self, place: Place, path: str, message: str, *, is_partial: bool = True) -> None:
        self.is_partial |= is_partial
        self.problems.append(Problem(message, path, place.line, place.column, place.file))


def _over(base: tree.Mapping, own: tree.Mapping) -> tree.Mapping:
    """Merges a root with that of a base: parts in `MERGED` key by key, other parts as a whole."""
    entries = dict(base.entries)
    for key, (place, node) in own.entries.items():
        below = base.get(key)
        if key in MERGED and isinstance(below, tree.Mapping) and isinstance(node, tree.Mapping):
            node = tree.Mapping(node.place, below.entries | node.entries)
        entries[key] = (place, node)
    return tree.Mapping(own.place, entries)


def _without(mapping: tree.Mapping, keys: tuple[str, ...]) -> tree.Mapping:
    return tree.Mapping(mapping.place, {k: each for k, each in mapping.entries.items() if k not in keys})


def _may_set(column: str) -> bool:
    """Returns whether a column of a preset table sets a field or resembles one that does."""
    return field_of(column) is not None or nearest(column, VALUE_KEYS) is not None


def _is_empty(node: YamlNode) -> bool:
    return isinstance(node, Scalar) and (node.kind == "null" or not node.text)


def _names_list(axis: YamlNode) -> TypeGuard[tree.Mapping]:
    return isinstance(axis, tree.Mapping) and "list" in axis.entries


def _list_axes(shots: tree.Sequence) -> Iterator[YamlNode]:
    """Yields the axes that name a list."""
    for group in shots.items:
        axes = group.get("axes") if isinstance(group, tree.Mapping) else None
        if isinstance(axes, tree.Mapping):
            yield from (value for _, _, value in axes.items() if _names_list(value))


def _expanding(values: YamlNode, expand: tuple[Place, YamlNode] | None) -> YamlNode:
    """Returns the values of a list with the `expand` of the axis."""
    if expand is None:
        return values
    if isinstance(values, tree.Mapping):
        return tree.Mapping(values.place, {**values.entries, "expand": expand})
    return tree.Mapping(values.place, {"values": (values.place, values), "expand": expand})
