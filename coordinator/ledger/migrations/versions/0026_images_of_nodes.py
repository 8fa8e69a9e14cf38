"""The newest images of a node are found by an index."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.create_index("images_by_node", "images", ["node_id", "stored_at"])


def downgrade() -> None:
    op.drop_index("images_by_node", "images")
