"""Batches may render shots that another one renders already."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Integer, String

from coordinator.ledger.migrations.columns import may, must

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("batches", may("duplicates", String))
    op.add_column("batches", must("beaten", Integer, "0"))


def downgrade() -> None:
    op.drop_column("batches", "beaten")
    op.drop_column("batches", "duplicates")
