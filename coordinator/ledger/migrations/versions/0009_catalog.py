"""The catalog of a farm grows while it runs, and nodes put models aside."""

from __future__ import annotations

from sqlalchemy import JSON, Double

from coordinator.ledger.migrations.additions import additions, column, table
from coordinator.ledger.migrations.columns import must, primary

revision = "0009"
down_revision = "0008"

upgrade, downgrade = additions(
    table(
        "catalog_entries",
        *primary("section", "name"),
        must("entry", JSON),
        must("files", JSON, "{}"),
        must("added_at", Double),
    ),
    column("nodes", must("aside", JSON, "{}")),
)
