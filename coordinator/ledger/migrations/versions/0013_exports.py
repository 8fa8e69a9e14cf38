"""A job may deliver each image in several sizes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON

from coordinator.ledger.migrations.columns import must

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("jobs", must("exports", JSON, "[]"))


def downgrade() -> None:
    op.drop_column("jobs", "exports")
