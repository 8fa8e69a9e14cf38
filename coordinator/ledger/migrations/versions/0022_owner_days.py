"""Cost and images of each owner by UTC day, counted over what the ledger has.

Costs count at the end of their attempts and batches; those of an attempt that is not settled, at its begin.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, Double, Integer, String

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "owner_days",
        Column("owner", String, primary_key=True),
        Column("day", Date, primary_key=True),
        Column("images", Integer, nullable=False, server_default="0"),
        Column("cost", Double, nullable=False, server_default="0"),
    )
    op.create_index("owner_days_by_day", "owner_days", ["day"])
    _count()


#: Seconds since 1970 as a day.
_DAY = {
    "sqlite": "date({}, 'unixepoch')",
    "postgresql": "CAST(to_timestamp({}) AT TIME ZONE 'UTC' AS date)",
}


def _count() -> None:
    day = _DAY[op.get_bind().dialect.name].format
    paid = f"""
        SELECT job_id, {day("coalesce(settled_at, started_at)")} AS day,
            0 AS images, cost + storage_cost AS cost FROM attempts
        UNION ALL SELECT job_id, {day("closed_at")}, 0, load_cost + lost_cost FROM batches
        WHERE closed_at IS NOT NULL
        UNION ALL SELECT job_id, {day("stored_at")}, 1, 0 FROM images
        UNION ALL SELECT job_id, {day("stored_at")}, 1, 0 FROM deleted_images
    """
    # Of thinned jobs, only the sums of each day are left.
    op.execute(f"""
        INSERT INTO owner_days (owner, day, images, cost)
        SELECT owner, day, sum(images), sum(cost) FROM (
            SELECT jobs.owner, one.day, one.images, one.cost FROM ({paid}) AS one
            JOIN jobs ON jobs.id = one.job_id
            UNION ALL SELECT owner, day, 0, value FROM daily_tallies WHERE kind = 'cost'
        ) AS each_one GROUP BY owner, day HAVING sum(images) > 0 OR sum(cost) > 0
    """)


def downgrade() -> None:
    op.drop_table("owner_days")
