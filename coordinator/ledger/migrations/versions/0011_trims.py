"""Shots are taken back from batches, and the time to load a model is measured."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, ForeignKey, Integer, String

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("batches", Column("trimmed", Integer, nullable=False, server_default="0"))
    op.create_table(
        "loads",
        Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
        Column("model", String, primary_key=True),
        Column("seconds", Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("loads")
    op.drop_column("batches", "trimmed")
