"""A job may deliver each image in several sizes."""

from __future__ import annotations

from sqlalchemy import JSON

from coordinator.ledger.migrations.additions import additions, column
from coordinator.ledger.migrations.columns import must

revision = "0013"
down_revision = "0012"

upgrade, downgrade = additions(
    column("jobs", must("exports", JSON, "[]")),
)
