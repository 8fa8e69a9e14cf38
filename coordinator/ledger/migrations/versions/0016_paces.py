"""Recipes are chosen by what idle cards of a type measured."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Double, Integer

from coordinator.ledger.migrations.columns import must, primary

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "paces",
        *primary("card_type", "model", "recipe"),
        must("seconds", Double),
        must("width", Integer),
        must("height", Integer),
    )


def downgrade() -> None:
    op.drop_table("paces")
