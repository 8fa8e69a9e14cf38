"""Nodes fetch models from the farm, and tell what they do before they render."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, String

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("nodes", Column("fetches", JSON, nullable=False, server_default="[]"))
    op.add_column("nodes", Column("doing", String, nullable=False, server_default=""))


def downgrade() -> None:
    for name in ("doing", "fetches"):
        op.drop_column("nodes", name)
