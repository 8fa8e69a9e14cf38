"""When a lease ends whose node reports nothing."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Double, text

from coordinator.ledger.migrations.columns import may

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    # Leases that run now end as they did before.
    op.add_column("batches", may("due_at", Double))
    op.add_column("batches", may("patience_s", Double))
    leased = text("state = 'leased'")
    op.create_index("batches_due", "batches", ["due_at"], sqlite_where=leased, postgresql_where=leased)


def downgrade() -> None:
    op.drop_index("batches_due", "batches")
    op.drop_column("batches", "patience_s")
    op.drop_column("batches", "due_at")
