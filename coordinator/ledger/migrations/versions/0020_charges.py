"""Electricity and storage as parts of costs, and charges by month, owner, node and use.

What attempts and batches took so far is charged to the months in which they ended; idle time to that of the
last heartbeat. How much of old costs was electricity is unknown.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, Integer, String

revision = "0020"
down_revision = "0019"

_PARTS = (
    ("attempts", "electricity"),
    ("attempts", "storage_cost"),
    ("batches", "load_electricity"),
    ("batches", "lost_electricity"),
    ("nodes", "idle_electricity"),
)


def upgrade() -> None:
    for table, column in _PARTS:
        op.add_column(table, Column(column, Double, nullable=False, server_default="0"))
    op.create_table(
        "monthly_charges",
        *(Column(name, String, primary_key=True) for name in ("month", "owner", "node_id", "model", "lane")),
        Column("vram_class", Integer, primary_key=True, autoincrement=False),
        Column("use", String, primary_key=True),
        *(Column(name, Integer, nullable=False, server_default="0") for name in ("images", "rejected")),
        *(
            Column(name, Double, nullable=False, server_default="0")
            for name in ("seconds", "joules", "cost", "electricity", "volunteered", "storage")
        ),
    )
    _count()


#: Seconds since 1970 as a month.
_MONTH = {
    "sqlite": "strftime('%Y-%m', {}, 'unixepoch')",
    "postgresql": "to_char(to_timestamp({}) AT TIME ZONE 'UTC', 'YYYY-MM')",
}
_LABELS = "model, lane, vram_class"
_DOUBLED = "CASE WHEN duplicates IS NOT NULL OR beaten > 0 THEN 'duplicate' ELSE 'lost' END"
_USE = """CASE WHEN failure = 'cancelled' THEN 'cancelled' WHEN state = 'stored' THEN 'image'
    WHEN state IN ('failed', 'rejected') THEN 'failed' WHEN state = 'wasted' THEN 'duplicate'
    ELSE 'lost' END"""
#: Of an attempt whose image was rejected.
_REJECTED = " OR ".join(
    f"EXISTS (SELECT 1 FROM {table} WHERE {table}.shot_id = attempts.shot_id"
    f" AND {table}.attempt_id = attempts.id AND {table}.rejected_at IS NOT NULL)"
    for table in ("images", "deleted_images")
)


def _count() -> None:
    month = _MONTH[op.get_bind().dialect.name].format
    # A row for each settled attempt, and two for each closed batch.
    charged = f"""
        SELECT {month("settled_at")} AS month, job_id, node_id, {_LABELS}, {_USE} AS used,
            CASE WHEN state = 'stored' THEN 1 ELSE 0 END AS images,
            CASE WHEN state = 'stored' AND ({_REJECTED}) THEN 1 ELSE 0 END AS rejected,
            encode_s + denoise_s + decode_s AS seconds,
            joules, cost, volunteered FROM attempts WHERE settled_at IS NOT NULL
        UNION ALL SELECT {month("closed_at")}, job_id, node_id, {_LABELS}, 'load', 0, 0, load_s,
            load_joules, load_cost, load_volunteered FROM batches WHERE closed_at IS NOT NULL AND load_s > 0
        UNION ALL SELECT {month("closed_at")}, job_id, node_id, {_LABELS}, {_DOUBLED}, 0, 0, lost_s,
            lost_joules, lost_cost, lost_volunteered FROM batches WHERE closed_at IS NOT NULL AND lost_s > 0
    """
    op.execute(f"""
        INSERT INTO monthly_charges
            (month, owner, node_id, {_LABELS}, "use", images, rejected, seconds, joules, cost, volunteered)
        SELECT month, jobs.owner, node_id, model, one.lane, vram_class, used,
            sum(images), sum(rejected), sum(seconds), sum(joules), sum(one.cost), sum(volunteered)
        FROM ({charged}) AS one JOIN jobs ON jobs.id = one.job_id
        GROUP BY month, jobs.owner, node_id, model, one.lane, vram_class, used
    """)
    op.execute(f"""
        INSERT INTO monthly_charges
            (month, owner, node_id, {_LABELS}, "use", seconds, joules, cost, volunteered)
        SELECT {month("seen_at")}, '', id, '', '', vram_class, 'idle', idle_s, idle_joules, idle_cost,
            idle_volunteered FROM nodes WHERE idle_s > 0
    """)
    for kind, sums in (("use_seconds", "seconds"), ("use_cost", "cost")):
        op.execute(f"""
            INSERT INTO tallies (kind, {_LABELS}, label, value)
            SELECT '{kind}', {_LABELS}, used, sum({sums}) FROM ({charged}) AS one GROUP BY {_LABELS}, used
        """)
    op.execute(f"""
        INSERT INTO tallies (kind, {_LABELS}, label, value)
        SELECT 'batches', {_LABELS}, outcome, count(*) FROM batches WHERE outcome IS NOT NULL
        GROUP BY {_LABELS}, outcome
    """)
    cancelled = f"SELECT {_LABELS}, count(*) AS number FROM attempts WHERE failure = 'cancelled'"
    op.execute(f"""
        INSERT INTO tallies (kind, {_LABELS}, label, value)
        SELECT 'attempts', {_LABELS}, 'cancelled', number FROM ({cancelled} GROUP BY {_LABELS}) AS one
    """)
    op.execute("""
        UPDATE tallies SET value = value - coalesce((
            SELECT cancelled.value FROM tallies AS cancelled
            WHERE cancelled.kind = 'attempts' AND cancelled.label = 'cancelled'
                AND cancelled.model = tallies.model AND cancelled.lane = tallies.lane
                AND cancelled.vram_class = tallies.vram_class), 0)
        WHERE kind = 'attempts' AND label = 'failed'
    """)


def downgrade() -> None:
    op.drop_table("monthly_charges")
    op.execute(f"""
        INSERT INTO tallies (kind, {_LABELS}, label, value)
        SELECT 'attempts', {_LABELS}, 'failed', value FROM tallies
        WHERE kind = 'attempts' AND label = 'cancelled'
        ON CONFLICT (kind, {_LABELS}, label) DO UPDATE SET value = tallies.value + excluded.value
    """)
    op.execute("DELETE FROM tallies WHERE kind = 'attempts' AND label = 'cancelled'")
    op.execute("DELETE FROM tallies WHERE kind IN ('use_seconds', 'use_cost', 'electricity', 'batches')")
    for table, column in reversed(_PARTS):
        op.drop_column(table, column)
