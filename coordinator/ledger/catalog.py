"""Entries that were added to the catalog while the farm runs."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from common.errors import NotFound
from common.views import CatalogAddition
from coordinator.ledger.schema import catalog_entries
from coordinator.ledger.transactions import Write


def added_entries(connection: Connection) -> list[CatalogAddition]:
    """The oldest first: a later one may copy an earlier one, or name it."""
    columns = (catalog_entries.c[name] for name in ("section", "name", "entry", "files"))
    rows = connection.execute(select(*columns).order_by(catalog_entries.c.added_at, catalog_entries.c.name))
    return [CatalogAddition.model_validate(row._asdict()) for row in rows]


def listed_entries(connection: Connection, instance: str) -> set[tuple[str, str]]:
    """See `Ledger.listed_entries`."""
    query = select(catalog_entries.c.section, catalog_entries.c.name)
    rows = connection.execute(query.where(catalog_entries.c.listed_by == instance))
    return {(row.section, row.name) for row in rows}


def add_entry(write: Write, added: CatalogAddition, listed_by: str) -> None:
    """An entry keeps its place when it is replaced."""
    row = added.model_dump(mode="json") | {"added_at": write.now, "listed_by": listed_by}
    before = write.connection.execute(
        delete(catalog_entries).where(*_is(added.section, added.name)).returning(catalog_entries.c.added_at)
    ).scalar()
    write.connection.execute(insert(catalog_entries), [row if before is None else row | {"added_at": before}])


def remove_entry(write: Write, section: str, name: str) -> None:
    """See `Ledger.remove_entry`."""
    gone = write.connection.execute(delete(catalog_entries).where(*_is(section, name)))
    if not gone.rowcount:
        raise NotFound(
            f"no entry {section}.{name} was added to this farm; entries of catalog files are removed there"
        )


def _is(section: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return catalog_entries.c.section == section, catalog_entries.c.name == name
