"""Nodes fetch models from the farm, and tell what they do before they render."""

from __future__ import annotations

from sqlalchemy import JSON, String

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0010"
down_revision = "0009"

upgrade, downgrade = additions(
    column("nodes", must("fetches", JSON, "[]")),
    column("nodes", must("doing", String, "")),
)
