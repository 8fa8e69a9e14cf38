"""Keys of nodes, invitations, and broker users of single nodes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Double, Integer, String

from coordinator.ledger.migrations.columns import may, must, primary

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.create_table(
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
    )
    op.create_index("identities_of_node", "identities", ["node"])
    op.create_table(
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
    )
    op.add_column("nodes", must("broker_digest", String, ""))


def downgrade() -> None:
    op.drop_column("nodes", "broker_digest")
    op.drop_table("invitations")
    op.drop_index("identities_of_node", "identities")
    op.drop_table("identities")
