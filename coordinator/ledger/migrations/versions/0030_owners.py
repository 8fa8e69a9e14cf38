"""Sums of cost and images by owner, counted over the jobs that the ledger has."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"

_SUMS = {"owner_cost": "cost", "owner_images": "rendered"}


def upgrade() -> None:
    # A coordinator may have begun to count without what was there before.
    downgrade()
    for kind, column in _SUMS.items():
        op.execute(
            f"INSERT INTO tallies (kind, model, lane, vram_class, label, value) "
            f"SELECT '{kind}', '', '', 0, owner, sum({column}) FROM jobs "
            f"GROUP BY owner HAVING sum({column}) > 0"
        )


def downgrade() -> None:
    op.execute("DELETE FROM tallies WHERE kind IN ('owner_cost', 'owner_images')")
