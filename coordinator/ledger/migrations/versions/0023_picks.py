"""Images that people keep or drop, and their stars."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Double, ForeignKey, Integer, String

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_table(
        "picks",
        Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("shot_id", String, nullable=False),
        Column("kept", Boolean),
        Column("stars", Integer, nullable=False, server_default="0"),
        Column("picked_by", String, nullable=False),
        Column("picked_at", Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("picks")
