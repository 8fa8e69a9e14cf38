"""Details of jobs that ended long ago are removed, and an image tells where it came from by itself."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, Double, Integer, String, text

from coordinator.ledger.migrations.columns import may, must, primary

revision = "0008"
down_revision = "0007"

_IMAGES = ("images", "deleted_images")
_FACTS = {"job_id": String, "lane": String, "model": String, "vram_class": Integer}
#: What PostgreSQL calls constraints without a name; on SQLite they are found by it.
_NAMES = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}


def upgrade() -> None:
    # Jobs that have ended count as ended from now on.
    for name in ("ended_at", "thinning_at", "thinned_at"):
        op.add_column("jobs", may(name, Double))
    unfinished = text("thinned_at IS NULL")
    op.create_index(
        "jobs_to_thin", "jobs", ["ended_at"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.add_column("job_counts", must("thinned", Integer, "0"))
    op.create_table(
        "daily_tallies",
        Column("day", Date, primary_key=True),
        *(Column(name, String, primary_key=True) for name in ("owner", "kind", "model", "lane")),
        Column("vram_class", Integer, primary_key=True, autoincrement=False),
        *primary("label"),
        must("value", Double),
    )
    for table in _IMAGES:
        _free_of_attempts(table)
    of_nodes = text("noun = 'node'")
    op.create_index("events_of_nodes", "events", ["at"], sqlite_where=of_nodes, postgresql_where=of_nodes)


def _free_of_attempts(table: str) -> None:
    """Copy what an image's attempt tells of where it came from, and let it live without."""
    for name, kind in _FACTS.items():
        op.add_column(table, may(name, kind))
        op.execute(
            f"UPDATE {table} SET {name} = "
            f"(SELECT attempts.{name} FROM attempts WHERE attempts.id = {table}.attempt_id)"
        )
    with op.batch_alter_table(table, naming_convention=_NAMES) as batch:
        for name, kind in _FACTS.items():
            batch.alter_column(name, existing_type=kind(), nullable=False)
        batch.drop_constraint(f"{table}_attempt_id_fkey", type_="foreignkey")


def downgrade() -> None:
    op.drop_index("events_of_nodes", "events")
    for table in _IMAGES:
        with op.batch_alter_table(table, naming_convention=_NAMES) as batch:
            for name in _FACTS:
                batch.drop_column(name)
            # Images of before may have no attempt any more.
            batch.create_foreign_key(
                f"{table}_attempt_id_fkey", "attempts", ["attempt_id"], ["id"], postgresql_not_valid=True
            )
    op.drop_table("daily_tallies")
    op.drop_column("job_counts", "thinned")
    op.drop_index("jobs_to_thin", "jobs")
    for name in ("ended_at", "thinning_at", "thinned_at"):
        op.drop_column("jobs", name)
