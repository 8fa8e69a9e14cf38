"""The newest images of a node are found by an index."""

from __future__ import annotations

from coordinator.ledger.migrations.additions import additions, index

revision = "0026"
down_revision = "0025"

upgrade, downgrade = additions(
    index("images_by_node", "images", "node_id", "stored_at"),
)
