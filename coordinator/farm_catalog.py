"""The catalog of a running farm: catalog files of the settings, and over them the entries of its ledger."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence

from common.catalog import CatalogEntries, ServedCatalog, build_catalog, with_entry
from common.catalog.entries import LoraEntry
from common.errors import InvalidDocument
from common.views import CatalogAddition

log = logging.getLogger(__name__)


class FarmCatalog:
    """`catalog` is one object as long as the farm runs, and holds what is known now."""

    def __init__(self, files: CatalogEntries) -> None:
        self._files = files
        self.catalog = build_catalog(files)
        self._serve(files, {})

    def with_added(self, added: Iterable[CatalogAddition]) -> CatalogEntries:
        """The entries with `added` over those of the files. Raises InvalidDocument as catalog files do."""
        entries, _, problems = _together(self._files, added)
        for problem in problems.values():
            raise problem
        return entries

    def hold(self, added: Sequence[CatalogAddition]) -> None:
        """Hold `added` over the files, and nothing else; what this version does not take is left out."""
        entries, taken, problems = _together(self._files, added)
        for name, problem in problems.items():
            log.error("%s: the catalog does without this entry: %s", name, problem)
        self.catalog.become(build_catalog(entries))
        self._serve(entries, {identity: size for one in taken for identity, size in one.files.items()})

    def _serve(self, entries: CatalogEntries, files: dict[str, int]) -> None:
        served = ServedCatalog(version="", files=files, **dict(entries) | {"loras": _impersonal(entries)})
        content = served.model_dump_json(exclude_unset=True)
        self.version = hashlib.sha256(content.encode()).hexdigest()[:16]
        #: The answer to GET /v1/catalog.
        self.served = served.model_copy(update={"version": self.version}).model_dump_json(exclude_unset=True)


def _impersonal(entries: CatalogEntries) -> dict[str, LoraEntry]:
    """The LoRAs as nodes and clients may see them: without whom they show, and the consent."""
    kept = {
        name: {field: getattr(lora, field) for field in lora.model_fields_set - {"person"}}
        for name, lora in entries.loras.items()
    }
    return {name: LoraEntry.model_validate(fields) for name, fields in kept.items()}


def _together(
    entries: CatalogEntries, added: Iterable[CatalogAddition]
) -> tuple[CatalogEntries, list[CatalogAddition], dict[str, InvalidDocument]]:
    """The entries with those that can be added, these, and why others cannot, by name.

    An entry may come before one that it copies or names: a file was edited.
    """
    taken: list[CatalogAddition] = []
    left, problems = list(added), dict[str, InvalidDocument]()
    while left:
        waiting, problems = left, {}
        left = []
        for one in waiting:
            try:
                entries = _with(entries, one)
            except InvalidDocument as problem:
                left.append(one)
                problems[one.name] = problem
            else:
                taken.append(one)
        if len(left) == len(waiting):
            break
    return entries, taken, problems


def _with(entries: CatalogEntries, one: CatalogAddition) -> CatalogEntries:
    return with_entry(entries, one.section, one.name, one.entry, source=f"{one.section}.{one.name}")
