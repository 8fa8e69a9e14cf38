"""A job may say whether cards that waste energy leave it to others."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean

from coordinator.ledger.migrations.columns import may

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("jobs", may("eco", Boolean))


def downgrade() -> None:
    op.drop_column("jobs", "eco")
