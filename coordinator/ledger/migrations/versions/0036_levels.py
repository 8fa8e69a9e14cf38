"""The level of each owner of volunteers' nodes, which decides about lanes.

Everybody starts on probation and has what was earned with the next image. Nobody is known to the operator any
more, as vouching for an owner did not open lanes before: an upgrade opens none.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, String, update
from sqlalchemy.sql import column as named
from sqlalchemy.sql import table

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0036"
down_revision = "0035"

_add, downgrade = additions(column("standings", must("level", String, "probation")))


def upgrade() -> None:
    _add()
    op.execute(update(table("standings", named("known", Boolean))).values(known=False))
