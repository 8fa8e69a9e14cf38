"""The ledger knows whose texts are embedded in the store, which nodes without an encoder take."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Boolean, Column, Double, String, text

from coordinator.ledger.migrations.columns import may, must, primary

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "embedded_texts",
        *primary("texts"),
        must("dtypes", JSON),
        must("versions", JSON),
        must("at", Double),
    )
    op.create_index("embedded_texts_by_age", "embedded_texts", ["at"])
    op.add_column("works", may("embedded", JSON))
    op.add_column("shots", must("texts", String, ""))
    op.add_column("batches", Column("encodes", Boolean, nullable=False, server_default=text("true")))
    waits = text("state = 'waiting'")
    op.create_index("shots_by_texts", "shots", ["texts"], sqlite_where=waits, postgresql_where=waits)


def downgrade() -> None:
    op.drop_index("shots_by_texts", "shots")
    op.drop_column("batches", "encodes")
    op.drop_column("shots", "texts")
    op.drop_column("works", "embedded")
    op.drop_table("embedded_texts")
