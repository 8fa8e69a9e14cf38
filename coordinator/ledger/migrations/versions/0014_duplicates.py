"""Batches may render shots that another one renders already."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, String

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("batches", Column("duplicates", String))
    op.add_column("batches", Column("beaten", Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("batches", "beaten")
    op.drop_column("batches", "duplicates")
