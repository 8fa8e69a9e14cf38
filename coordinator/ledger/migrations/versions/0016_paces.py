"""Recipes are chosen by what idle cards of a type measured."""

from __future__ import annotations

from sqlalchemy import Double, Integer

from coordinator.ledger.migrations.additions import additions, table
from coordinator.ledger.migrations.columns import must, primary

revision = "0016"
down_revision = "0015"

upgrade, downgrade = additions(
    table(
        "paces",
        *primary("card_type", "model", "recipe"),
        must("seconds", Double),
        must("width", Integer),
        must("height", Integer),
    ),
)
