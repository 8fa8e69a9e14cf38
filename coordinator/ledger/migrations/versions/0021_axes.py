"""Where in its manifest each shot was described, and requests that may be sent again."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Double, String

revision = "0021"
down_revision = "0020"

_TABLES = ("wants", "removals")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, Column("group_name", String, nullable=False, server_default=""))
        op.add_column(table, Column("axes", JSON, nullable=False, server_default="{}"))
    op.add_column("jobs", Column("axes", JSON, nullable=False, server_default="{}"))
    op.create_table(
        "idempotency_keys",
        Column("caller", String, primary_key=True),
        Column("key", String, primary_key=True),
        Column("digest", String, nullable=False),
        Column("job_id", String, nullable=False),
        Column("at", Double, nullable=False),
        Column("result", JSON),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["at"])
    op.create_index("idempotency_keys_by_job", "idempotency_keys", ["job_id"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_column("jobs", "axes")
    for table in _TABLES:
        op.drop_column(table, "axes")
        op.drop_column(table, "group_name")
