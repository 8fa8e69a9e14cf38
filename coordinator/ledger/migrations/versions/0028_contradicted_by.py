"""Which volunteer first rendered what a node could not: that alone does not blame the node."""

from __future__ import annotations

from alembic import op
from sqlalchemy import String

from coordinator.ledger.migrations.columns import may

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("nodes", may("contradicted_by", String))


def downgrade() -> None:
    op.drop_column("nodes", "contradicted_by")
