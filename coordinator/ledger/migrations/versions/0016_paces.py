"""Recipes are chosen by what idle cards of a type measured."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, Integer, String

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "paces",
        Column("card_type", String, primary_key=True),
        Column("model", String, primary_key=True),
        Column("recipe", String, primary_key=True),
        Column("seconds", Double, nullable=False),
        Column("width", Integer, nullable=False),
        Column("height", Integer, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("paces")
