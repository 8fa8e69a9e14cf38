"""The ledger knows whose texts are embedded in the store, which nodes without an encoder take."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Boolean, Column, Double, String, text

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "embedded_texts",
        Column("texts", String, primary_key=True),
        Column("dtypes", JSON, nullable=False),
        Column("versions", JSON, nullable=False),
        Column("at", Double, nullable=False),
    )
    op.create_index("embedded_texts_by_age", "embedded_texts", ["at"])
    op.add_column("works", Column("embedded", JSON))
    op.add_column("shots", Column("texts", String, nullable=False, server_default=""))
    op.add_column("batches", Column("encodes", Boolean, nullable=False, server_default=text("true")))
    waits = text("state = 'waiting'")
    op.create_index("shots_by_texts", "shots", ["texts"], sqlite_where=waits, postgresql_where=waits)


def downgrade() -> None:
    op.drop_index("shots_by_texts", "shots")
    op.drop_column("batches", "encodes")
    op.drop_column("shots", "texts")
    op.drop_column("works", "embedded")
    op.drop_table("embedded_texts")
