"""Where in its manifest each shot was described, and requests that may be sent again."""

from __future__ import annotations

from sqlalchemy import JSON, Double, String

from coordinator.ledger.migrations.additions import additions, column, index, table
from coordinator.ledger.migrations.columns import may, must, primary

revision = "0021"
down_revision = "0020"

_TABLES = ("wants", "removals")

upgrade, downgrade = additions(
    *(column(name, must("group_name", String, "")) for name in _TABLES),
    *(column(name, must("axes", JSON, "{}")) for name in (*_TABLES, "jobs")),
    table(
        "idempotency_keys",
        *primary("caller", "key"),
        must("digest", String),
        must("job_id", String),
        must("at", Double),
        may("result", JSON),
    ),
    index("idempotency_keys_by_age", "idempotency_keys", "at"),
    index("idempotency_keys_by_job", "idempotency_keys", "job_id"),
)
