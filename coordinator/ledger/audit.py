"""The audit log: who changed what by the API. Rows are only added, and removed when they are too old."""

from __future__ import annotations

from sqlalchemy import Connection, Select, delete, select

from common.key_messages import AuditEntry
from coordinator.ledger.schema import audit
from coordinator.ledger.transactions import Write


def audit_entries(
    connection: Connection, *, before: int | None, by: str | None, subject: str | None, limit: int
) -> list[AuditEntry]:
    """See `Ledger.audit`."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    if by is not None:
        query = query.where(audit.c.by == by)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    return [AuditEntry(**row._asdict()) for row in connection.execute(query)]


def old_entries(before: float, limit: int) -> Select[int]:
    """The oldest rows, if they are from before a time."""
    return select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)


def forget(write: Write, before: float, limit: int) -> bool:
    """Remove the oldest rows from before a time; returns whether more may remain."""
    old = write.connection.scalars(old_entries(before, limit)).all()
    write.connection.execute(delete(audit).where(audit.c.id.in_(old)))
    return len(old) == limit
