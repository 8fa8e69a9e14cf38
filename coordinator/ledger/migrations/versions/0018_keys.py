"""Keys with owners and scopes, what they use, the key that submitted a job, and the audit log."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Date, Double, Integer, String, Text, text

from coordinator.ledger.migrations.columns import may, must, primary

revision = "0018"
down_revision = "0017"

_OF_KEYS = text("key IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "keys",
        *primary("name"),
        Column("digest", String, nullable=False, unique=True),
        must("owner", String),
        must("scopes", JSON),
        may("lanes", JSON),
        must("max_priority", Integer),
        may("quota", String),
        may("max_cost", String),
        may("rate", String),
        must("created_at", Double),
        must("created_by", String),
        may("expires_at", Double),
        may("revoked_at", Double),
        may("old_digest", String),
        may("old_until", Double),
    )
    op.create_table(
        "key_days",
        *primary("key"),
        Column("day", Date, primary_key=True),
        must("images", Integer, "0"),
        must("cost", Double, "0"),
    )
    op.create_table(
        "audit",
        Column("id", Integer, primary_key=True),
        must("at", Double),
        must("by", String),
        must("owner", String),
        must("action", String),
        must("subject", String),
        must("detail", Text, ""),
    )
    op.create_index("audit_by_age", "audit", ["at"])
    op.create_index("audit_by_key", "audit", ["by", "id"])
    op.create_index("audit_by_subject", "audit", ["subject", "id"])
    op.add_column("jobs", may("key", String))
    op.create_index("jobs_by_key", "jobs", ["key"], sqlite_where=_OF_KEYS, postgresql_where=_OF_KEYS)
    op.create_index("jobs_by_owner", "jobs", ["owner", "submitted_at"])


def downgrade() -> None:
    op.drop_index("jobs_by_owner", "jobs")
    op.drop_index("jobs_by_key", "jobs")
    op.drop_column("jobs", "key")
    op.drop_table("audit")
    op.drop_table("key_days")
    op.drop_table("keys")
