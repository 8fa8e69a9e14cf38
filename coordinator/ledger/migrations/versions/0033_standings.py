"""What owners of volunteers' nodes have earned, and the images that are checked by rendering them again."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Double, Integer, String, Text

from coordinator.ledger.migrations.additions import additions, column, index, table
from coordinator.ledger.migrations.columns import may, must, primary

revision = "0033"
down_revision = "0032"

upgrade, downgrade = additions(
    column("jobs", may("verifies", String)),
    column("images", may("perceptual_hash", String)),
    column("deleted_images", may("perceptual_hash", String)),
    index("nodes_by_owner", "nodes", "owner"),
    table(
        "standings",
        *primary("owner"),
        must("since", Double),
        must("images", Integer, "0"),
        must("clean", Integer, "0"),
        must("known", Boolean, "0"),
        must("barred", Text, ""),
    ),
    table(
        "verifications",
        *primary("attempt_id"),
        must("shot_id", String),
        must("node_id", String),
        must("owner", String),
        must("why", String),
        must("lane", String),
        must("recipe", String),
        must("asked_at", Double),
        may("copy_id", String),
        must("opinions", JSON, "[]"),
        may("verdict", String),
        may("settled_at", Double),
    ),
    index("verifications_open", "verifications", "copy_id", where="verdict IS NULL"),
    index("verifications_of_node", "verifications", "node_id", where="verdict IS NULL"),
)
