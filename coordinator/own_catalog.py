"""The catalog file of `farm models add`, and what a farm takes over from it.

The ledger has all entries that were added to the catalog. A coordinator brings those of its file up to date
when it starts, since the file may have changed while no farm ran, and puts their files into the store.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, cast

from common.catalog import Catalog
from common.errors import Invalid
from common.settings import Settings
from common.storage import Store
from common.views import CatalogAddition
from coordinator.ledger import Ledger
from coordinator.models.addition import Section
from coordinator.models.catalog_file import CatalogFile
from coordinator.models.held import added_again, held_files
from coordinator.models.publish import identities_of, publish

log = logging.getLogger(__name__)

Key = tuple[str, str]


class OwnCatalog:
    """That of this instance; other coordinators of the farm may have files of their own."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._file = CatalogFile(settings.own_catalog, settings.catalogs)
        self._folders = settings.model_folders
        self._instance = settings.instance_name
        self._ledger = ledger
        #: Entries whose files were looked for since the start.
        self._seen: dict[Key, dict[str, Any]] = {}
        self._stopped = threading.Event()

    def listed_by(self, added: CatalogAddition) -> str:
        """This instance, if its file has the entry now; else nothing."""
        listed = self._file.entries().get(added.section, {}).get(added.name)
        return self._instance if listed == added.entry else ""

    def take_over(self) -> None:
        """Let the ledger hold what the file says. Entries that no file lists stay as they are."""
        listed = self._entries()
        held: dict[Key, CatalogAddition] = {
            (one.section, one.name): one for one in self._ledger.catalog.added()
        }
        before = self._ledger.catalog.listed(self._instance)
        for key, entry in listed.items():
            one = held.get(key)
            if one is None or one.entry != entry or key not in before:
                told = {"section": key[0], "name": key[1], "entry": entry}
                new = CatalogAddition.model_validate(told).with_files_of(one)
                self._ledger.catalog.add(new, listed_by=self._instance)
            if one is None or one.entry != entry:
                log.info("%s: the catalog has it as %s says", key[1], self._file.file)
        # Without a file, this may be another machine than that of the operator.
        for section, name in sorted(before - listed.keys() if self._file.file.is_file() else ()):
            self._ledger.catalog.remove(section, name)
            log.info("%s: removed from the catalog, as from %s", name, self._file.file)

    def publish(self, catalog: Catalog, store: Store, add_entry: Callable[[CatalogAddition], object]) -> None:
        """Put files of listed entries that the store lacks there, as far as they are on this machine.

        Raises Unavailable if the store does not answer.
        """
        listed = self._ledger.catalog.listed(self._instance)
        for one in self._ledger.catalog.added():
            key = one.section, one.name
            is_new = key in listed and self._seen.get(key) != one.entry
            if is_new and not identities_of(one.entry) <= one.files.keys():
                self._publish(one, catalog, store, add_entry)
            if self._stopped.is_set():
                return
            self._seen[key] = one.entry

    def stop(self) -> None:
        """Let `publish` end before the next file."""
        self._stopped.set()

    def _publish(
        self,
        one: CatalogAddition,
        catalog: Catalog,
        store: Store,
        add_entry: Callable[[CatalogAddition], object],
    ) -> None:
        held = held_files(one.name, catalog, self._folders)
        if held is None:
            log.warning("%s: its files are not on this machine; run `farm models add %s`", one.name, one.name)
            return
        try:
            # Licences and families have no files.
            added = added_again(cast("Section", one.section), one.name, one.entry, held, self._pause)
            publish(added, store, add_entry, lambda _: self._pause(0, 0))
        except _Stopped:
            return
        except Invalid as error:
            log.error("%s: nodes cannot fetch it: %s", one.name, error)
        else:
            log.info("%s: nodes can fetch it from the store now", one.name)

    def _pause(self, _done: int, _total: int) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _entries(self) -> dict[Key, dict[str, Any]]:
        some = self._file.entries()
        return {(section, name): entry for section, each in some.items() for name, entry in each.items()}


class _Stopped(Exception):
    pass
