"""Nodes say which recipes of their models they have no file for."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON

from coordinator.ledger.migrations.columns import must

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("nodes", must("missing_recipes", JSON, "{}"))
