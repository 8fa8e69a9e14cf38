"""Keys of nodes, invitations, and broker users of single nodes."""

from __future__ import annotations

from sqlalchemy import JSON, Double, Integer, String

from coordinator.ledger.migrations.additions import additions, column, index, table
from coordinator.ledger.migrations.columns import may, must, primary

revision = "0032"
down_revision = "0031"

upgrade, downgrade = additions(
    column("nodes", must("broker_digest", String, "")),
    table(
        "identities",
        *primary("public_key"),
        must("node", String),
        may("invitation", String),
        may("owner", String),
        may("lanes", JSON),
        may("terms", String),
        must("created_at", Double),
        may("ended_at", Double),
        must("ending", String, ""),
    ),
    index("identities_of_node", "identities", "node"),
    table(
        "invitations",
        *primary("public_key"),
        may("name", String),
        must("owner", String),
        must("lanes", JSON),
        must("terms", String),
        must("uses_left", Integer),
        must("created_at", Double),
        must("created_by", String),
        must("expires_at", Double),
    ),
)
