"""The leader says who it is and shows that it lives, so that others can stand by."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("leader", Column("holder", String, nullable=False, server_default=""))
    op.add_column("leader", Column("beat", BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("leader", "beat")
    op.drop_column("leader", "holder")
