"""The tables. Times are seconds since 1970, durations seconds, energies joules, sizes bytes.

Every list that the sweeper, the dispatcher or a claim walks has an index, partial where few rows are in it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
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
    literal,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()

#: Seconds of an attempt that are kept apart; `load` belongs to the batch, `ingest` comes with the verdict.
ATTEMPT_PHASES = ("encode", "denoise", "decode", "save", "upload", "ingest")


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


def plain(state: StrEnum) -> BindParameter[str]:
    """A state spelt out in the statement: only then is a partial index used."""
    return literal(state.value, String, literal_execute=True)


#: One row; a coordinator raises the epoch to lead, and whoever knows an older one may not write.
leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True),
    _must("epoch", Integer),
    #: Instance name of the coordinator that leads; empty once it has ended in order.
    _must("holder", String, ""),
    #: Raised by the leader at each sweep: its sign of life.
    _must("beat", BigInteger, "0"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    _must("name", String),
    _must("owner", String),
    _must("lane", String),
    _must("priority", Integer),
    #: What the operator wants: active, paused, cancelled.
    _must("intent", String),
    _must("reason", Text, ""),
    _must("manifest", Text),
    _must("random_seed", BigInteger),
    _may("max_cost", Double),
    #: False until the last chunk of its shots is in.
    _must("complete", Boolean),
    _must("submitted_at", Double),
    Index("jobs_by_age", "submitted_at"),
)

#: What shots of one batch share (`common.shot.Shot.group`), with one of them for the fit.
groups = Table(
    "groups",
    metadata,
    Column("key", String, primary_key=True),
    _must("model", String),
    _must("loras", JSON),
    _must("sample", Text),
)

shots = Table(
    "shots",
    metadata,
    Column("id", String, primary_key=True),
    _must("state", String),
    _reference("group_key", "groups.key"),
    #: GiB; 0 while unschedulable.
    _must("min_class", Integer),
    #: Megapixels times steps: what speeds are measured in.
    _must("work", Double),
    #: `common.shot.Shot.to_dict()` as JSON.
    _must("spec", Text),
    #: Its own failures so far.
    _must("attempts", Integer, "0"),
    #: Times that the engine or the node died while it was, perhaps, rendering this.
    _must("crashes", Integer, "0"),
    #: Kind and sentence of the last failure, or why it fits nothing.
    _must("failure", String, ""),
    _must("reason", Text, ""),
    #: Submission and place in it that first wanted the shot: the order of work.
    _must("since", Double),
    _must("position", Integer),
    _partial("shots_waiting", "group_key", "crashes", "since", "position", where="state = 'waiting'"),
    _partial("shots_unschedulable", "group_key", where="state = 'unschedulable'"),
    _partial("shots_failed", "id", where="state = 'failed'"),
)

#: One row for each name under which a job wants a shot.
wants = Table(
    "wants",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    #: Place in the manifest's order.
    Column("position", Integer, primary_key=True, autoincrement=False),
    _reference("shot_id", "shots.id"),
    _must("name", String),
    #: The prompt as written.
    _must("template", Text),
    #: An earlier place of the same job wants this shot already.
    _must("again", Boolean),
    #: Another job paid for it.
    _must("reused", Boolean),
    Index("wants_by_shot", "shot_id", "job_id"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String, primary_key=True),
    _must("owner", String),
    _must("terms", String),
    _must("card", JSON),
    _must("vram_class", Integer),
    _must("lanes", JSON),
    _must("models", JSON),
    _must("loras", JSON),
    #: Model to the recipes it has no file for.
    _must("missing_recipes", JSON, "{}"),
    _must("versions", JSON),
    _must("state", String),
    _must("reason", Text, ""),
    _must("incarnation", Integer),
    #: Random name of the process that joined last.
    _must("process", String),
    _may("loaded_model", String),
    _must("loaded_loras", JSON),
    _may("watts", Double),
    _may("temperature_c", Double),
    _must("seen_at", Double),
    #: Its own failures in a row.
    _must("failures", Integer, "0"),
    _must("idle_s", Double, "0"),
    *_money("idle_"),
    #: Of that, what this incarnation told: its heartbeats are cumulative.
    _must("told_idle_s", Double, "0"),
    _must("told_idle_joules", Double, "0"),
)

#: What a node was measured to need for a megapixel and step of a model, as a moving average.
speeds = Table(
    "speeds",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    Column("model", String, primary_key=True),
    _must("seconds", Double),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    _reference("node_id", "nodes.id"),
    _must("incarnation", Integer),
    Column("ticket", String, nullable=False, unique=True),
    _must("token", String),
    _must("lane", String),
    _must("vram_class", Integer),
    #: The job it was claimed for.
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
    #: What it will cost, as far as known when it was leased.
    _must("estimate", Double),
    #: Cumulative `Spent` of its heartbeats.
    _must("spent_s", JSON),
    _must("spent_joules", Double, "0"),
    _must("spent_method", String),
    #: Model and LoRA loading.
    _must("loads", Integer, "0"),
    _must("load_s", Double, "0"),
    *_money("load_"),
    #: Spent, and reported for no attempt: killed passes.
    _must("lost_s", Double, "0"),
    *_money("lost_"),
    _partial("batches_leased", "expires_at", where="state = 'leased'"),
    _partial("batches_in_hand", "node_id", where="state = 'leased'"),
    Index("batches_by_job", "job_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String, primary_key=True),
    _reference("batch_id", "batches.id"),
    _reference("shot_id", "shots.id"),
    #: In the order of rendering.
    _must("place", Integer),
    #: The job it was claimed for, which pays.
    _reference("job_id", "jobs.id"),
    _reference("node_id", "nodes.id"),
    _must("vram_class", Integer),
    _must("lane", String),
    _must("model", String),
    _must("state", String),
    _must("started_at", Double),
    _may("settled_at", Double),
    *(_must(f"{phase}_s", Double, "0") for phase in ATTEMPT_PHASES),
    *_money(),
    _must("energy_method", String, "estimated"),
    _must("failure", String, ""),
    _must("message", Text, ""),
    #: Quarantine key, SHA-256 and bytes of the upload.
    _may("key", String),
    _may("sha256", String),
    _may("size", BigInteger),
    _may("peak_bytes", BigInteger),
    _may("fingerprint", JSON),
    #: When ingest was last asked for it, and how often it began.
    _may("asked_at", Double),
    _must("tries", Integer, "0"),
    Index("attempts_by_batch", "batch_id"),
    Index("attempts_by_shot", "shot_id"),
    Index("attempts_by_job", "job_id", "settled_at"),
    _partial("attempts_delivered", "asked_at", where="state = 'delivered'"),
)

#: What is stored: the sidecar of each image.
images = Table(
    "images",
    metadata,
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
    #: Seconds by phase.
    _must("seconds", JSON),
    _must("joules", Double),
    _must("energy_method", String),
    _must("cost", Double),
    _must("stored_at", Double),
)

#: One row for each transition, written in its transaction.
events = Table(
    "events",
    metadata,
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
