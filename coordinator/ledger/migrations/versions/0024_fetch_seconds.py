"""Nodes tell how long fetching each of their models takes."""

from __future__ import annotations

from sqlalchemy import JSON

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0024"
down_revision = "0023"

upgrade, downgrade = additions(
    column("nodes", must("fetch_s", JSON, "{}")),
)
