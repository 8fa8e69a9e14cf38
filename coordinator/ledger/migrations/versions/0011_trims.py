"""Shots are taken back from batches for idle nodes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("batches", Column("trimmed", Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("batches", "trimmed")
