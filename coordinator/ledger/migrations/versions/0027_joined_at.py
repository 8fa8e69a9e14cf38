"""When the present incarnation of a node joined: it cannot have been idle for longer."""

from __future__ import annotations

from sqlalchemy import Double

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0027"
down_revision = "0026"

upgrade, downgrade = additions(
    # The time of those that joined before is unknown; they join again with the next version.
    column("nodes", must("joined_at", Double, "0")),
)
