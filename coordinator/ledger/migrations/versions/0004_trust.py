"""Nodes keep their last outcomes, since when they are distrusted, and whose doing their state is."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, Integer, String, Text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("nodes", Column("record", Text, nullable=False, server_default=""))
    op.add_column("nodes", Column("distrusted_at", Double))
    op.add_column("nodes", Column("decided_by", String, nullable=False, server_default="farm"))
    op.execute("UPDATE nodes SET record = substr('xxxxxxxxxx', 1, failures)")
    op.execute("UPDATE nodes SET distrusted_at = seen_at WHERE state = 'quarantined'")
    op.drop_column("nodes", "failures")


def downgrade() -> None:
    op.add_column("nodes", Column("failures", Integer, nullable=False, server_default="0"))
    op.execute("UPDATE nodes SET failures = length(record) - length(rtrim(record, 'x'))")
    op.execute("UPDATE nodes SET state = 'quarantined' WHERE distrusted_at IS NOT NULL")
    op.execute("UPDATE nodes SET state = 'offline' WHERE state = 'paused'")
    for column in ("decided_by", "distrusted_at", "record"):
        op.drop_column("nodes", column)
