"""Nodes tell how long fetching each of their models takes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("nodes", Column("fetch_s", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("nodes", "fetch_s")
