"""Entries that were added to the catalog while the farm runs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, insert, select

from common.errors import NotFound
from common.views import CatalogAddition
from coordinator.ledger.records import Act
from coordinator.ledger.schema import catalog_entries
from coordinator.ledger.transactions import Transactions


@dataclass(frozen=True, slots=True)
class AddedEntries:
    transactions: Transactions

    def added(self) -> list[CatalogAddition]:
        """The oldest first: a later one may copy an earlier one, or name it."""
        columns = (catalog_entries.c[name] for name in ("section", "name", "entry", "files"))
        query = select(*columns).order_by(catalog_entries.c.added_at, catalog_entries.c.name)
        with self.transactions.read() as connection:
            return [CatalogAddition.model_validate(row._asdict()) for row in connection.execute(query)]

    def listed(self, instance: str) -> set[tuple[str, str]]:
        """Section and name of the entries that the catalog file of this coordinator has."""
        query = select(catalog_entries.c.section, catalog_entries.c.name)
        query = query.where(catalog_entries.c.listed_by == instance)
        with self.transactions.read() as connection:
            return {(row.section, row.name) for row in connection.execute(query)}

    def add(self, added: CatalogAddition, *, listed_by: str = "", act: Act | None = None) -> None:
        """Add an entry, or replace the added one of its name, in its place.

        `listed_by` is the coordinator whose catalog file has it; empty if none has.
        """
        same = _is(added.section, added.name)
        with self.transactions.write(act) as write:
            row = added.model_dump(mode="json") | {"added_at": write.now, "listed_by": listed_by}
            before = write.connection.execute(
                delete(catalog_entries).where(*same).returning(catalog_entries.c.added_at)
            ).scalar()
            kept = {} if before is None else {"added_at": before}
            write.connection.execute(insert(catalog_entries), [row | kept])

    def remove(self, section: str, name: str, *, act: Act | None = None) -> None:
        """Raises NotFound if it was not added."""
        with self.transactions.write(act) as write:
            gone = write.connection.execute(delete(catalog_entries).where(*_is(section, name)))
            if not gone.rowcount:
                raise NotFound(
                    f"no entry {section}.{name} was added to this farm; entries of catalog files are removed "
                    "there"
                )


def _is(section: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return catalog_entries.c.section == section, catalog_entries.c.name == name
