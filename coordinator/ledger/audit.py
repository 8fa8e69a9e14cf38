"""The audit log: who changed what by the API. Rows are only added, and removed when they are too old."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, delete, select

from common.key_messages import AuditEntry
from coordinator.ledger.schema import audit
from coordinator.ledger.transactions import Transactions, Write


@dataclass(frozen=True, slots=True)
class AuditLog:
    transactions: Transactions

    def entries(
        self,
        *,
        before: int | None = None,
        by: str | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """What was changed by the API, newest first, of a key or about a subject; `before` an ID."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        if by is not None:
            query = query.where(audit.c.by == by)
        if subject is not None:
            query = query.where(audit.c.subject == subject)
        with self.transactions.read() as connection:
            return [AuditEntry(**row._asdict()) for row in connection.execute(query)]


def old_entries(before: float, limit: int) -> Select[int]:
    """The oldest rows, if they are from before a time."""
    return select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)


def forget(write: Write, before: float, limit: int) -> bool:
    """Remove the oldest rows from before a time; returns whether more may remain."""
    old = write.connection.scalars(old_entries(before, limit)).all()
    write.connection.execute(delete(audit).where(audit.c.id.in_(old)))
    return len(old) == limit
