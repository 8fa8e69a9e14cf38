"""The catalog of a farm grows while it runs, and nodes put models aside."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Double

from coordinator.ledger.migrations.columns import must, primary

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "catalog_entries",
        *primary("section", "name"),
        must("entry", JSON),
        must("files", JSON, "{}"),
        must("added_at", Double),
    )
    op.add_column("nodes", must("aside", JSON, "{}"))


def downgrade() -> None:
    op.drop_column("nodes", "aside")
    op.drop_table("catalog_entries")
