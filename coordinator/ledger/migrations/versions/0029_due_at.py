"""When a lease ends whose node reports nothing."""

from __future__ import annotations

from sqlalchemy import Double

from coordinator.ledger.migrations.additions import additions, column, index
from coordinator.ledger.migrations.columns import may

revision = "0029"
down_revision = "0028"

upgrade, downgrade = additions(
    # Leases that run now end as they did before.
    column("batches", may("due_at", Double)),
    column("batches", may("patience_s", Double)),
    index("batches_due", "batches", "due_at", where="state = 'leased'"),
)
