"""A job may say whether cards that waste energy leave it to others."""

from __future__ import annotations

from sqlalchemy import Boolean

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import may

revision = "0012"
down_revision = "0011"

upgrade, downgrade = additions(
    column("jobs", may("eco", Boolean)),
)
