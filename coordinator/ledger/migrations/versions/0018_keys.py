"""Keys with owners and scopes, what they use, the key that submitted a job, and the audit log."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Date, Double, Integer, String, Text

from coordinator.ledger.migrations.additions import additions, column, index, table
from coordinator.ledger.migrations.columns import may, must, primary

revision = "0018"
down_revision = "0017"

upgrade, downgrade = additions(
    table(
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
    ),
    table(
        "key_days",
        *primary("key"),
        Column("day", Date, primary_key=True),
        must("images", Integer, "0"),
        must("cost", Double, "0"),
    ),
    table(
        "audit",
        Column("id", Integer, primary_key=True),
        must("at", Double),
        must("by", String),
        must("owner", String),
        must("action", String),
        must("subject", String),
        must("detail", Text, ""),
    ),
    index("audit_by_age", "audit", "at"),
    index("audit_by_key", "audit", "by", "id"),
    index("audit_by_subject", "audit", "subject", "id"),
    column("jobs", may("key", String)),
    index("jobs_by_key", "jobs", "key", where="key IS NOT NULL"),
    index("jobs_by_owner", "jobs", "owner", "submitted_at"),
)
