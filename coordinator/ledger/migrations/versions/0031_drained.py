"""A drain outlives the restarts of a node, and the pauses of its owner."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.add_column("nodes", Column("drained", Text, nullable=False, server_default=""))
    # Nodes that an operator has drained, with the reason that they have.
    op.execute(
        "UPDATE nodes SET drained = reason WHERE decided_by = 'operator' AND state IN ('draining', 'offline')"
    )


def downgrade() -> None:
    op.drop_column("nodes", "drained")
