"""The first tables: as `coordinator.ledger.schema` was then, and never changed since."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from coordinator.ledger.migrations.columns import may, must, partial_index, primary, reference

revision = "0001"
down_revision = None

tables = MetaData()
_PHASES = ("encode", "denoise", "decode", "save", "upload", "ingest")


def upgrade() -> None:
    tables.create_all(op.get_bind())


def money(prefix: str = "") -> tuple[Column[Any], ...]:
    """Energy and what it cost: the farm, and a volunteer."""
    return tuple(must(f"{prefix}{name}", Double, "0") for name in ("joules", "cost", "volunteered"))


Table("leader", tables, Column("id", Integer, primary_key=True), must("epoch", Integer))

Table(
    "jobs",
    tables,
    *primary("id"),
    must("name", String),
    must("owner", String),
    must("lane", String),
    must("priority", Integer),
    must("intent", String),
    must("reason", Text, ""),
    must("manifest", Text),
    must("random_seed", BigInteger),
    may("max_cost", Double),
    must("complete", Boolean),
    must("submitted_at", Double),
    Index("jobs_by_age", "submitted_at"),
)

Table(
    "groups",
    tables,
    *primary("key"),
    must("model", String),
    must("loras", JSON),
    must("sample", Text),
)

Table(
    "shots",
    tables,
    *primary("id"),
    must("state", String),
    reference("group_key", "groups.key"),
    must("min_class", Integer),
    must("work", Double),
    must("spec", Text),
    must("attempts", Integer, "0"),
    must("crashes", Integer, "0"),
    must("failure", String, ""),
    must("reason", Text, ""),
    must("since", Double),
    must("position", Integer),
    partial_index("shots_waiting", "group_key", "crashes", "since", "position", where="state = 'waiting'"),
    partial_index("shots_unschedulable", "group_key", where="state = 'unschedulable'"),
    partial_index("shots_failed", "id", where="state = 'failed'"),
)

Table(
    "wants",
    tables,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    reference("shot_id", "shots.id"),
    must("name", String),
    must("template", Text),
    must("again", Boolean),
    must("reused", Boolean),
    Index("wants_by_shot", "shot_id", "job_id"),
)

Table(
    "nodes",
    tables,
    *primary("id"),
    must("owner", String),
    must("terms", String),
    must("card", JSON),
    must("vram_class", Integer),
    must("lanes", JSON),
    must("models", JSON),
    must("loras", JSON),
    must("versions", JSON),
    must("state", String),
    must("reason", Text, ""),
    must("incarnation", Integer),
    must("process", String),
    may("loaded_model", String),
    must("loaded_loras", JSON),
    may("watts", Double),
    may("temperature_c", Double),
    must("seen_at", Double),
    must("failures", Integer, "0"),
    must("idle_s", Double, "0"),
    *money("idle_"),
    must("told_idle_s", Double, "0"),
    must("told_idle_joules", Double, "0"),
)

Table(
    "speeds",
    tables,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    *primary("model"),
    must("seconds", Double),
)

Table(
    "batches",
    tables,
    *primary("id"),
    reference("node_id", "nodes.id"),
    must("incarnation", Integer),
    Column("ticket", String, nullable=False, unique=True),
    must("token", String),
    must("lane", String),
    must("vram_class", Integer),
    reference("job_id", "jobs.id"),
    reference("group_key", "groups.key"),
    must("model", String),
    must("recipe", String),
    must("pass_size", Integer),
    must("state", String),
    may("outcome", String),
    must("failure", String, ""),
    must("message", Text, ""),
    must("leased_at", Double),
    must("expires_at", Double),
    may("closed_at", Double),
    must("estimate", Double),
    must("spent_s", JSON),
    must("spent_joules", Double, "0"),
    must("spent_method", String),
    must("loads", Integer, "0"),
    must("load_s", Double, "0"),
    *money("load_"),
    must("lost_s", Double, "0"),
    *money("lost_"),
    partial_index("batches_leased", "expires_at", where="state = 'leased'"),
    partial_index("batches_in_hand", "node_id", where="state = 'leased'"),
    Index("batches_by_job", "job_id"),
)

Table(
    "attempts",
    tables,
    *primary("id"),
    reference("batch_id", "batches.id"),
    reference("shot_id", "shots.id"),
    must("place", Integer),
    reference("job_id", "jobs.id"),
    reference("node_id", "nodes.id"),
    must("vram_class", Integer),
    must("lane", String),
    must("model", String),
    must("state", String),
    must("started_at", Double),
    may("settled_at", Double),
    *(must(f"{phase}_s", Double, "0") for phase in _PHASES),
    *money(),
    must("energy_method", String, "estimated"),
    must("failure", String, ""),
    must("message", Text, ""),
    may("key", String),
    may("sha256", String),
    may("size", BigInteger),
    may("peak_bytes", BigInteger),
    may("fingerprint", JSON),
    may("asked_at", Double),
    must("tries", Integer, "0"),
    Index("attempts_by_batch", "batch_id"),
    Index("attempts_by_shot", "shot_id"),
    Index("attempts_by_job", "job_id", "settled_at"),
    partial_index("attempts_delivered", "asked_at", where="state = 'delivered'"),
)

Table(
    "images",
    tables,
    Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
    must("key", String),
    must("sha256", String),
    must("size", BigInteger),
    reference("attempt_id", "attempts.id"),
    must("template", Text),
    must("prompt", Text),
    must("seed", BigInteger),
    must("model_hash", String),
    must("node_id", String),
    must("recipe", String),
    must("seconds", JSON),
    must("joules", Double),
    must("energy_method", String),
    must("cost", Double),
    must("stored_at", Double),
)

Table(
    "events",
    tables,
    Column("id", Integer, primary_key=True),
    must("at", Double),
    must("noun", String),
    must("subject", String),
    must("event", String),
    must("source", String),
    must("target", String),
    must("detail", Text, ""),
    Index("events_by_subject", "subject"),
)
