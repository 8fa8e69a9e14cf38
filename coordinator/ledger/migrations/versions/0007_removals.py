"""Pictures that a person rejected or deleted."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, Integer, String, Text, text

from coordinator.ledger.migrations.columns import may, must, primary

revision = "0007"
down_revision = "0006"


def _must(name: str, kind: Any, *more: Any) -> Column[Any]:
    return Column(name, kind, *more, nullable=False)


def upgrade() -> None:
    op.add_column("shots", must("deletions", Integer, "0"))
    op.add_column("images", may("rejected_at", Double))
    op.create_index("images_by_sha256", "images", ["sha256"])
    op.create_table(
        "removals",
        Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
        _must("name", String),
        _must("template", Text),
        _must("again", Boolean),
        _must("kind", String),
        _must("removed_by", String),
        _must("removed_at", Double),
        may("redo_id", String),
    )
    op.create_index("removals_by_shot", "removals", ["shot_id", "job_id"])
    _create_deleted_images()


def _create_deleted_images() -> None:
    op.create_table(
        "deleted_images",
        *primary("key"),
        _must("shot_id", String, ForeignKey("shots.id")),
        _must("sha256", String),
        _must("size", BigInteger),
        _must("attempt_id", String, ForeignKey("attempts.id")),
        _must("template", Text),
        _must("prompt", Text),
        _must("seed", BigInteger),
        _must("model_hash", String),
        _must("node_id", String),
        _must("recipe", String),
        _must("seconds", JSON),
        _must("joules", Double),
        _must("energy_method", String),
        _must("cost", Double),
        _must("stored_at", Double),
        may("rejected_at", Double),
        _must("deleted_by", String),
        _must("deleted_at", Double),
        may("erased_at", Double),
    )
    for column in ("shot_id", "sha256"):
        op.create_index(f"deleted_images_by_{column.removesuffix('_id')}", "deleted_images", [column])
    to_do = text("erased_at IS NULL")
    op.create_index(
        "deleted_images_to_erase",
        "deleted_images",
        ["deleted_at"],
        sqlite_where=to_do,
        postgresql_where=to_do,
    )


def downgrade() -> None:
    op.drop_table("deleted_images")
    op.drop_table("removals")
    op.drop_index("images_by_sha256", "images")
    op.drop_column("images", "rejected_at")
    op.drop_column("shots", "deletions")
