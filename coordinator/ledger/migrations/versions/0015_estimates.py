"""A job keeps what its plan said, and what it takes, so that both can be compared."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, Integer, text

revision = "0015"
down_revision = "0014"

_COLUMNS = (
    ("estimated_s", Double, None),
    ("estimated_images", Integer, None),
    ("estimated_cost", Double, None),
    ("rendered", Integer, "0"),
    ("last_image_at", Double, None),
    ("paused_at", Double, None),
    ("paused_s", Double, "0"),
)
_RENDERED = """
SELECT job_id, count(*) FROM (SELECT job_id FROM images UNION ALL SELECT job_id FROM deleted_images) AS paid
GROUP BY job_id
"""
_NEWEST = """
SELECT wants.job_id, max(stored_at) FROM wants JOIN images ON images.shot_id = wants.shot_id
GROUP BY wants.job_id
"""


def upgrade() -> None:
    for name, kind, default in _COLUMNS:
        op.add_column("jobs", Column(name, kind, nullable=default is None, server_default=default))
    connection = op.get_bind()
    for column, query in (("rendered", _RENDERED), ("last_image_at", _NEWEST)):
        known = [{"job": job, "value": value} for job, value in connection.execute(text(query))]
        if known:
            connection.execute(text(f"UPDATE jobs SET {column} = :value WHERE id = :job"), known)


def downgrade() -> None:
    for name, _, _ in _COLUMNS:
        op.drop_column("jobs", name)
