"""The level of each owner of volunteers' nodes, which decides about lanes.

Everybody starts on probation and has what was earned with the next image, so that an upgrade opens no lane.
"""

from __future__ import annotations

from sqlalchemy import String

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0036"
down_revision = "0035"

upgrade, downgrade = additions(column("standings", must("level", String, "probation")))
