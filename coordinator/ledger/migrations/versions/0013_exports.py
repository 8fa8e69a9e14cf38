"""A job may deliver each image in several sizes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("jobs", Column("exports", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("jobs", "exports")
