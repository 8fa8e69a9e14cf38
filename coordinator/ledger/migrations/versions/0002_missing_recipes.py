"""Nodes say which recipes of their models they have no file for."""

from __future__ import annotations

from sqlalchemy import JSON

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0002"
down_revision = "0001"

upgrade, downgrade = additions(
    column("nodes", must("missing_recipes", JSON, "{}")),
)
