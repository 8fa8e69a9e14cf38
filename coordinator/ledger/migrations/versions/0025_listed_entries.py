"""The ledger knows which entries of the catalog are those of an operator's catalog file."""

from __future__ import annotations

from sqlalchemy import String

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0025"
down_revision = "0024"

upgrade, downgrade = additions(
    column("catalog_entries", must("listed_by", String, "")),
)
