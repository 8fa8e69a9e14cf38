"""Which volunteer first rendered what a node could not: that alone does not blame the node."""

from __future__ import annotations

from sqlalchemy import String

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import may

revision = "0028"
down_revision = "0027"

upgrade, downgrade = additions(
    column("nodes", may("contradicted_by", String)),
)
