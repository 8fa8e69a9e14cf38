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
    text,
)
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

tables = MetaData()
_PHASES = ("encode", "denoise", "decode", "save", "upload", "ingest")


def upgrade() -> None:
    tables.create_all(op.get_bind())


def _must(name: str, kind: type[TypeEngine[Any]], default: str | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=default)


def _may(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind)


def _reference(name: str, target: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, String, ForeignKey(target), nullable=nullable)


def _money(prefix: str = "") -> tuple[Column[Any], ...]:
    """Energy and what it cost: the farm, and a volunteer."""
    return tuple(_must(f"{prefix}{name}", Double, "0") for name in ("joules", "cost", "volunteered"))


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


Table("leader", tables, Column("id", Integer, primary_key=True), _must("epoch", Integer))

Table(
    "jobs",
    tables,
    Column("id", String, primary_key=True),
    _must("name", String),
    _must("owner", String),
    _must("lane", String),
    _must("priority", Integer),
    _must("intent", String),
    _must("reason", Text, ""),
    _must("manifest", Text),
    _must("random_seed", BigInteger),
    _may("max_cost", Double),
    _must("complete", Boolean),
    _must("submitted_at", Double),
    Index("jobs_by_age", "submitted_at"),
)

Table(
    "groups",
    tables,
    Column("key", String, primary_key=True),
    _must("model", String),
    _must("loras", JSON),
    _must("sample", Text),
)

Table(
    "shots",
    tables,
    Column("id", String, primary_key=True),
    _must("state", String),
    _reference("group_key", "groups.key"),
    _must("min_class", Integer),
    _must("work", Double),
    _must("spec", Text),
    _must("attempts", Integer, "0"),
    _must("crashes", Integer, "0"),
    _must("failure", String, ""),
    _must("reason", Text, ""),
    _must("since", Double),
    _must("position", Integer),
    _partial("shots_waiting", "group_key", "crashes", "since", "position", where="state = 'waiting'"),
    _partial("shots_unschedulable", "group_key", where="state = 'unschedulable'"),
    _partial("shots_failed", "id", where="state = 'failed'"),
)

Table(
    "wants",
    tables,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _reference("shot_id", "shots.id"),
    _must("name", String),
    _must("template", Text),
    _must("again", Boolean),
    _must("reused", Boolean),
    Index("wants_by_shot", "shot_id", "job_id"),
)

Table(
    "nodes",
    tables,
    Column("id", String, primary_key=True),
    _must("owner", String),
    _must("terms", String),
    _must("card", JSON),
    _must("vram_class", Integer),
    _must("lanes", JSON),
    _must("models", JSON),
    _must("loras", JSON),
    _must("versions", JSON),
    _must("state", String),
    _must("reason", Text, ""),
    _must("incarnation", Integer),
    _must("process", String),
    _may("loaded_model", String),
    _must("loaded_loras", JSON),
    _may("watts", Double),
    _may("temperature_c", Double),
    _must("seen_at", Double),
    _must("failures", Integer, "0"),
    _must("idle_s", Double, "0"),
    *_money("idle_"),
    _must("told_idle_s", Double, "0"),
    _must("told_idle_joules", Double, "0"),
)

Table(
    "speeds",
    tables,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    Column("model", String, primary_key=True),
    _must("seconds", Double),
)

Table(
    "batches",
    tables,
    Column("id", String, primary_key=True),
    _reference("node_id", "nodes.id"),
    _must("incarnation", Integer),
    Column("ticket", String, nullable=False, unique=True),
    _must("token", String),
    _must("lane", String),
    _must("vram_class", Integer),
    _reference("job_id", "jobs.id"),
    _reference("group_key", "groups.key"),
    _must("model", String),
    _must("recipe", String),
    _must("pass_size", Integer),
    _must("state", String),
    _may("outcome", String),
    _must("failure", String, ""),
    _must("message", Text, ""),
    _must("leased_at", Double),
    _must("expires_at", Double),
    _may("closed_at", Double),
    _must("estimate", Double),
    _must("spent_s", JSON),
    _must("spent_joules", Double, "0"),
    _must("spent_method", String),
    _must("loads", Integer, "0"),
    _must("load_s", Double, "0"),
    *_money("load_"),
    _must("lost_s", Double, "0"),
    *_money("lost_"),
    _partial("batches_leased", "expires_at", where="state = 'leased'"),
    _partial("batches_in_hand", "node_id", where="state = 'leased'"),
    Index("batches_by_job", "job_id"),
)

Table(
    "attempts",
    tables,
    Column("id", String, primary_key=True),
    _reference("batch_id", "batches.id"),
    _reference("shot_id", "shots.id"),
    _must("place", Integer),
    _reference("job_id", "jobs.id"),
    _reference("node_id", "nodes.id"),
    _must("vram_class", Integer),
    _must("lane", String),
    _must("model", String),
    _must("state", String),
    _must("started_at", Double),
    _may("settled_at", Double),
    *(_must(f"{phase}_s", Double, "0") for phase in _PHASES),
    *_money(),
    _must("energy_method", String, "estimated"),
    _must("failure", String, ""),
    _must("message", Text, ""),
    _may("key", String),
    _may("sha256", String),
    _may("size", BigInteger),
    _may("peak_bytes", BigInteger),
    _may("fingerprint", JSON),
    _may("asked_at", Double),
    _must("tries", Integer, "0"),
    Index("attempts_by_batch", "batch_id"),
    Index("attempts_by_shot", "shot_id"),
    Index("attempts_by_job", "job_id", "settled_at"),
    _partial("attempts_delivered", "asked_at", where="state = 'delivered'"),
)

Table(
    "images",
    tables,
    Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
    _must("key", String),
    _must("sha256", String),
    _must("size", BigInteger),
    _reference("attempt_id", "attempts.id"),
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
)

Table(
    "events",
    tables,
    Column("id", Integer, primary_key=True),
    _must("at", Double),
    _must("noun", String),
    _must("subject", String),
    _must("event", String),
    _must("source", String),
    _must("target", String),
    _must("detail", Text, ""),
    Index("events_by_subject", "subject"),
)
