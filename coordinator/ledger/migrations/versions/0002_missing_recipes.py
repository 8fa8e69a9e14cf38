"""Nodes say which recipes of their models they have no file for."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("nodes", Column("missing_recipes", JSON, nullable=False, server_default="{}"))
