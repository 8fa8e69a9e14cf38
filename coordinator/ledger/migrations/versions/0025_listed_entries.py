"""The ledger knows which entries of the catalog are those of an operator's catalog file."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("catalog_entries", Column("listed_by", String, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("catalog_entries", "listed_by")
