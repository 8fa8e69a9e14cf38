"""Keys with owners and scopes, what they use, the key that submitted a job, and the audit log."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Date, Double, Integer, String, Text, text

revision = "0018"
down_revision = "0017"

_OF_KEYS = text("key IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "keys",
        Column("name", String, primary_key=True),
        Column("digest", String, nullable=False, unique=True),
        Column("owner", String, nullable=False),
        Column("scopes", JSON, nullable=False),
        Column("lanes", JSON),
        Column("max_priority", Integer, nullable=False),
        Column("quota", String),
        Column("max_cost", String),
        Column("rate", String),
        Column("created_at", Double, nullable=False),
        Column("created_by", String, nullable=False),
        Column("expires_at", Double),
        Column("revoked_at", Double),
        Column("old_digest", String),
        Column("old_until", Double),
    )
    op.create_table(
        "key_days",
        Column("key", String, primary_key=True),
        Column("day", Date, primary_key=True),
        Column("images", Integer, nullable=False, server_default="0"),
        Column("cost", Double, nullable=False, server_default="0"),
    )
    op.create_table(
        "audit",
        Column("id", Integer, primary_key=True),
        Column("at", Double, nullable=False),
        Column("by", String, nullable=False),
        Column("owner", String, nullable=False),
        Column("action", String, nullable=False),
        Column("subject", String, nullable=False),
        Column("detail", Text, nullable=False, server_default=""),
    )
    op.create_index("audit_by_age", "audit", ["at"])
    op.create_index("audit_by_key", "audit", ["by", "id"])
    op.create_index("audit_by_subject", "audit", ["subject", "id"])
    op.add_column("jobs", Column("key", String))
    op.create_index("jobs_by_key", "jobs", ["key"], sqlite_where=_OF_KEYS, postgresql_where=_OF_KEYS)
    op.create_index("jobs_by_owner", "jobs", ["owner", "submitted_at"])


def downgrade() -> None:
    op.drop_index("jobs_by_owner", "jobs")
    op.drop_index("jobs_by_key", "jobs")
    op.drop_column("jobs", "key")
    op.drop_table("audit")
    op.drop_table("key_days")
    op.drop_table("keys")
