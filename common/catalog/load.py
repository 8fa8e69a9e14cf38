"""Reads catalog files: the built-in one, then a farm's own; an entry replaces an earlier one of its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from common.catalog.build import build_catalog
from common.catalog.check import problems_between
from common.catalog.document import CatalogEntries, Entry, FamilyEntry, LicenseEntry, LoraEntry, ModelEntry
from common.catalog.types import Catalog
from common.errors import InvalidDocument, Problem
from common.manifest.nodes import Mapping, Node, Scalar, child_path
from common.manifest.parsed import Text
from common.manifest.yaml12 import read_yaml

BUILT_IN = Path(__file__).parent.parent / "catalog.yaml"

_SECTIONS: dict[str, type[Entry]] = {
    "licenses": LicenseEntry,
    "families": FamilyEntry,
    "models": ModelEntry,
    "loras": LoraEntry,
}


def load_catalog(paths: Sequence[Path] = ()) -> Catalog:
    """The built-in catalog with the entries of `paths` over it, in their order.

    Raises InvalidDocument with every problem of the first file that has one.
    """
    reader = _Reader()
    for path in (BUILT_IN, *paths):
        reader.read(path)
    return build_catalog(reader.entries)


@dataclass(slots=True)
class _Reader:
    """Entries read so far, and the plain data they were read from (what `like` copies)."""

    entries: CatalogEntries = field(default_factory=CatalogEntries)
    plain: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise InvalidDocument(str(path), [Problem(reason)]) from None
        text, problems = read_yaml(content, str(path))
        for section, name, node in _entries(text, problems):
            self._take(text, section, name, node, problems)
        problems += [text.problem(where, message) for where, message in problems_between(self.entries)]
        if problems:
            raise InvalidDocument(str(path), problems)

    def _take(self, text: Text, section: str, name: str, node: Mapping, problems: list[Problem]) -> None:
        path = child_path(section, name)
        data = _plain(node)
        like = data.pop("like", None)
        if like is not None:
            if (section, like) not in self.plain:
                problems.append(text.problem(f"{path}.like", f"no entry `{like}` stands above in {section}"))
                return
            data = self.plain[section, like] | data
        self.plain[section, name] = data
        try:
            self.entries.section(section)[name] = _SECTIONS[section].model_validate(data)
        except ValidationError as error:
            problems += [_problem(text, path, _SECTIONS[section], item) for item in error.errors()]


def _entries(text: Text, problems: list[Problem]) -> Iterator[tuple[str, str, Mapping]]:
    """Section, name and value of each entry of the file."""
    if not isinstance(text.root, Mapping):
        problems.append(text.problem("", f"a catalog is a mapping with {', '.join(_SECTIONS)}"))
        return
    for section, _, node in text.root.items():
        if section not in _SECTIONS:
            problems.append(text.problem(section, f"no such section{_nearest(section, _SECTIONS)}"))
        elif not isinstance(node, Mapping):
            problems.append(text.problem(section, "must be a mapping of names to entries"))
        else:
            for name, _, entry in node.items():
                if isinstance(entry, Mapping):
                    yield section, name, entry
                else:
                    problems.append(text.problem(child_path(section, name), "must be a mapping"))


def _problem(text: Text, path: str, kind: type[Entry], item: ErrorDetails) -> Problem:
    for key in item["loc"]:
        path = child_path(path, key)
    if item["type"] == "extra_forbidden":
        return text.problem(path, f"unknown key{_nearest(str(item['loc'][-1]), get_type_hints(kind))}")
    return text.problem(path, item["msg"])


def _nearest(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"


def _plain(node: Node) -> Any:
    """Python data by the YAML 1.2 core schema."""
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, _, value in node.items()}
    if not isinstance(node, Scalar):
        return [_plain(item) for item in node.items]
    match node.kind:
        case "null":
            return None
        case "bool":
            return node.text.lower() == "true"
        case "text":
            return node.text
        case _:
            return node.number()
