"""Whether the owner of a node wants no work but that of lanes that promise SFW."""

from __future__ import annotations

from sqlalchemy import Boolean

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0037"
down_revision = "0036"

upgrade, downgrade = additions(column("nodes", must("sfw_only", Boolean, "0")))
