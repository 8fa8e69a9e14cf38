"""The leader says who it is and shows that it lives, so that others can stand by."""

from __future__ import annotations

from sqlalchemy import BigInteger, String

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0003"
down_revision = "0002"

upgrade, downgrade = additions(
    column("leader", must("holder", String, "")),
    column("leader", must("beat", BigInteger, "0")),
)
