"""Nodes keep their last outcomes, since when they are distrusted, and whose doing their state is."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Double, Integer, String, Text

from coordinator.ledger.migrations.columns import may, must

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("nodes", must("record", Text, ""))
    op.add_column("nodes", may("distrusted_at", Double))
    op.add_column("nodes", must("decided_by", String, "farm"))
    op.execute("UPDATE nodes SET record = substr('xxxxxxxxxx', 1, failures)")
    op.execute("UPDATE nodes SET distrusted_at = seen_at WHERE state = 'quarantined'")
    op.drop_column("nodes", "failures")


def downgrade() -> None:
    op.add_column("nodes", must("failures", Integer, "0"))
    op.execute("UPDATE nodes SET failures = length(record) - length(rtrim(record, 'x'))")
    op.execute("UPDATE nodes SET state = 'quarantined' WHERE distrusted_at IS NOT NULL")
    op.execute("UPDATE nodes SET state = 'offline' WHERE state = 'paused'")
    for column in ("decided_by", "distrusted_at", "record"):
        op.drop_column("nodes", column)
