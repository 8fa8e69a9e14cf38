"""Shots are taken back from batches, and the time to load a model is measured."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, ForeignKey, Integer, String

from coordinator.ledger.migrations.columns import must, primary

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("batches", must("trimmed", Integer, "0"))
    op.create_table(
        "loads",
        Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
        *primary("model"),
        must("seconds", Double),
    )


def downgrade() -> None:
    op.drop_table("loads")
    op.drop_column("batches", "trimmed")
