"""When the present incarnation of a node joined: it cannot have been idle for longer."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Double

from coordinator.ledger.migrations.columns import must

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    # The time of those that joined before is unknown; they join again with the next version.
    op.add_column("nodes", must("joined_at", Double, "0"))


def downgrade() -> None:
    op.drop_column("nodes", "joined_at")
