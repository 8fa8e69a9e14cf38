"""Batches may render shots that another one renders already."""

from __future__ import annotations

from sqlalchemy import Integer, String

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import may, must

revision = "0014"
down_revision = "0013"

upgrade, downgrade = additions(
    column("batches", may("duplicates", String)),
    column("batches", must("beaten", Integer, "0")),
)
