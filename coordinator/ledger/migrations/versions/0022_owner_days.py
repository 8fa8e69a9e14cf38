"""Cost and images of each owner by UTC day."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, Double, Integer, String

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "owner_days",
        Column("owner", String, primary_key=True),
        Column("day", Date, primary_key=True),
        Column("images", Integer, nullable=False, server_default="0"),
        Column("cost", Double, nullable=False, server_default="0"),
    )
    op.create_index("owner_days_by_day", "owner_days", ["day"])


def downgrade() -> None:
    op.drop_table("owner_days")
