"""Parts of perceptual hashes, by which images that look alike are found."""

from __future__ import annotations

from alembic import op
from sqlalchemy import String, Text, column, func, literal, select, table, union

from coordinator.ledger.migrations.columns import primary

revision = "0038"
down_revision = "0037"

#: Hexadecimal digits of a part, and parts.
_DIGITS, _PARTS = 4, 4


def upgrade() -> None:
    op.create_table("hash_parts", *primary("part", "shot_id"), sqlite_with_rowid=False)
    made = table("hash_parts", column("part", String), column("shot_id", String))
    kept = [
        table(name, *(column(one, String) for one in ("shot_id", "job_id")), column("perceptual_hash", Text))
        for name in ("images", "deleted_images")
    ]
    for number in range(_PARTS):
        of_each = (
            select(
                literal(f"{number}", String)
                .concat(func.substr(one.c.perceptual_hash, _DIGITS * number + 1, _DIGITS))
                .label("part"),
                one.c.shot_id,
                # Not those of verifications, which are only compared.
            ).where(one.c.perceptual_hash.is_not(None), one.c.job_id.not_like("v-%"))
            for one in kept
        )
        # Of a shot whose image was deleted there may be several with this part.
        op.execute(made.insert().from_select(["part", "shot_id"], union(*of_each)))


def downgrade() -> None:
    op.drop_table("hash_parts")
