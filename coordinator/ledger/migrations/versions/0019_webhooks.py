"""Addresses that are told of events."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Double, Integer, String, Text

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        Column("id", String, primary_key=True),
        Column("url", Text, nullable=False),
        Column("secret", String, nullable=False),
        Column("events", JSON, nullable=False),
        Column("owner", String),
        Column("key", String),
        Column("created_at", Double, nullable=False),
        Column("cursor", BigInteger, nullable=False),
        Column("sending", BigInteger),
        Column("tries", Integer, nullable=False, server_default="0"),
        Column("failing_since", Double),
        Column("next_at", Double, nullable=False, server_default="0"),
        Column("given_up", Integer, nullable=False, server_default="0"),
        Column("answers", JSON, nullable=False, server_default="[]"),
    )


def downgrade() -> None:
    op.drop_table("webhooks")
