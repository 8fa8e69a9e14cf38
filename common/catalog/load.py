"""Reads catalog files: the built-in one, then a farm's own; an entry replaces an earlier one of its name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from common.catalog.build import build_catalog
from common.catalog.check import problems_between
from common.catalog.entries import (
    CatalogEntries,
    ClassifierEntry,
    Entry,
    FamilyEntry,
    LicenseEntry,
    LoraEntry,
    ModelEntry,
    TextualInversionEntry,
    UpscalerEntry,
)
from common.catalog.types import Catalog
from common.document.source import SourceText
from common.document.tree import Mapping, child_path
from common.document.typed import plain, read_document, validated
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.wording import suggestion

BUILT_IN = Path(__file__).parent.parent / "catalog.yaml"

_SECTIONS: dict[str, type[Entry]] = {
    "licenses": LicenseEntry,
    "families": FamilyEntry,
    "models": ModelEntry,
    "loras": LoraEntry,
    "textual_inversions": TextualInversionEntry,
    "upscalers": UpscalerEntry,
    "classifiers": ClassifierEntry,
}


def load_catalog(paths: Sequence[Path] = ()) -> Catalog:
    """The built-in catalog with the entries of `paths` over it, in their order.

    Raises InvalidDocument with every problem of the first file that has one.
    """
    return build_catalog(read_entries(paths))


def read_entries(paths: Sequence[Path] = ()) -> CatalogEntries:
    """The entries of the same files. Raises InvalidDocument as `load_catalog` does."""
    built_in = _built_in()
    reader = _Reader(_copied(built_in.entries), dict(built_in.plain))
    for path in paths:
        reader.take(*read_document(path))
    return reader.entries


@cache
def _built_in() -> _Reader:
    """Read once: every command and node begins with it. Nobody changes it."""
    reader = _Reader()
    reader.take(*read_document(BUILT_IN))
    return reader


def _copied(entries: CatalogEntries) -> CatalogEntries:
    """With sections of its own, whose entries nobody can change."""
    return CatalogEntries.model_validate({key: dict(entries.section(key)) for key in _SECTIONS})


def with_entry(
    entries: CatalogEntries, section: str, name: str, entry: dict[str, Any], *, source: str
) -> CatalogEntries:
    """`entries` with one more, given as in a catalog file. Raises InvalidDocument as for a file `source`."""
    known = {
        (key, each): old.model_dump(mode="json", exclude_unset=True)
        for key in _SECTIONS
        for each, old in entries.section(key).items()
    }
    reader = _Reader(_copied(entries), known)
    # JSON is YAML: the entry gets the checks and the messages of a file.
    reader.take(*read_yaml(json.dumps({section: {name: entry}}, ensure_ascii=False), source))
    return reader.entries


@dataclass(slots=True)
class _Reader:
    """Entries read so far, and the plain data they were read from (what `like` copies)."""

    entries: CatalogEntries = field(default_factory=CatalogEntries)
    plain: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def take(self, text: SourceText, problems: list[Problem]) -> None:
        """Raises InvalidDocument."""
        for section, name, node in _entries(text, problems):
            self._entry(text, section, name, node, problems)
        problems += [text.problem(where, message) for where, message in problems_between(self.entries)]
        if problems:
            raise InvalidDocument(text.source, problems)

    def _entry(
        self, text: SourceText, section: str, name: str, node: Mapping, problems: list[Problem]
    ) -> None:
        path = child_path(section, name)
        data = plain(node)
        like = data.pop("like", None)
        if like is not None:
            if (section, like) not in self.plain:
                problems.append(
                    text.problem(f"{path}.like", f"there is no entry `{like}` above in {section}")
                )
                return
            data = self.plain[section, like] | data
        self.plain[section, name] = data
        entry = validated(_SECTIONS[section], data, path, text, problems)
        if entry is not None:
            self.entries.section(section)[name] = entry


def _entries(text: SourceText, problems: list[Problem]) -> Iterator[tuple[str, str, Mapping]]:
    """Section, name and value of each entry of the file."""
    if not isinstance(text.root, Mapping):
        problems.append(text.problem("", f"a catalog must be a mapping with {', '.join(_SECTIONS)}"))
        return
    for section, _, node in text.root.items():
        if section not in _SECTIONS:
            problems.append(text.problem(section, f"unknown section{suggestion(section, _SECTIONS)}"))
        elif not isinstance(node, Mapping):
            problems.append(text.problem(section, "must be a mapping of names to entries"))
        else:
            for name, _, entry in node.items():
                if isinstance(entry, Mapping):
                    yield section, name, entry
                else:
                    problems.append(text.problem(child_path(section, name), "must be a mapping"))
