"""Copies of an image that were asked for, and the order in which verifications are removed."""

from __future__ import annotations

from sqlalchemy import Integer

from coordinator.ledger.migrations.additions import additions, column, index
from coordinator.ledger.migrations.columns import must

revision = "0034"
down_revision = "0033"

upgrade, downgrade = additions(
    column("verifications", must("tries", Integer, "0")),
    index("verifications_settled", "verifications", "settled_at"),
)
