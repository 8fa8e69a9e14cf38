"""The catalog of a farm grows while it runs, and nodes put models aside."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Double, String

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "catalog_entries",
        Column("section", String, primary_key=True),
        Column("name", String, primary_key=True),
        Column("entry", JSON, nullable=False),
        Column("files", JSON, nullable=False, server_default="{}"),
        Column("added_at", Double, nullable=False),
    )
    op.add_column("nodes", Column("aside", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("nodes", "aside")
    op.drop_table("catalog_entries")
