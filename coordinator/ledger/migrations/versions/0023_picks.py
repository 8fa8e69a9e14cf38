"""Images that people keep or drop, and their stars."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, ForeignKey, Integer, String

from coordinator.ledger.migrations.additions import additions, table
from coordinator.ledger.migrations.columns import may, must

revision = "0023"
down_revision = "0022"

upgrade, downgrade = additions(
    table(
        "picks",
        Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        must("shot_id", String),
        may("kept", Boolean),
        must("stars", Integer, "0"),
        must("picked_by", String),
        must("picked_at", Double),
    ),
)
