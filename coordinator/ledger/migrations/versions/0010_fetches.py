"""Nodes fetch models from the farm, and tell what they do before they render."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, String

from coordinator.ledger.migrations.columns import must

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("nodes", must("fetches", JSON, "[]"))
    op.add_column("nodes", must("doing", String, ""))


def downgrade() -> None:
    for name in ("doing", "fetches"):
        op.drop_column("nodes", name)
