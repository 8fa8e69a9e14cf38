"""The leader says who it is and shows that it lives, so that others can stand by."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, String

from coordinator.ledger.migrations.columns import must

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("leader", must("holder", String, ""))
    op.add_column("leader", must("beat", BigInteger, "0"))


def downgrade() -> None:
    op.drop_column("leader", "beat")
    op.drop_column("leader", "holder")
