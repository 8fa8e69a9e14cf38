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
    Date,
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


def must(name: str, kind: type[TypeEngine[Any]], default: str | None = None) -> Column[Any]:
    """A column that is never NULL."""
    return Column(name, kind, nullable=False, server_default=default)


def may(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    """A column that may be NULL."""
    return Column(name, kind)


def reference(name: str, target: str) -> Column[Any]:
    """A column that names a row of another table, as in `jobs.id`."""
    return Column(name, String, ForeignKey(target), nullable=False)


def money(prefix: str = "") -> tuple[Column[Any], ...]:
    """Energy and what it cost: the farm, and a volunteer."""
    return tuple(must(f"{prefix}{name}", Double, "0") for name in ("joules", "cost", "volunteered"))


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the few rows for which `where` holds."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


metadata = MetaData()

#: Seconds of an attempt that are kept apart; `load` belongs to the batch, `ingest` comes with the verdict.
ATTEMPT_PHASES = ("encode", "denoise", "decode", "save", "upload", "ingest")


def plain(state: StrEnum) -> BindParameter[str]:
    """A state spelt out in the statement: only then is a partial index used."""
    return literal(state.value, String, literal_execute=True)


#: One row; a coordinator raises the epoch to lead, and whoever knows an older one may not write.
leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True),
    must("epoch", Integer),
    #: Instance name of the coordinator that leads; empty once it has ended in order.
    must("holder", String, ""),
    #: Raised by the leader every few seconds: its sign of life.
    must("beat", BigInteger, "0"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    must("name", String),
    must("owner", String),
    must("lane", String),
    must("priority", Integer),
    #: What the operator wants: active, paused, cancelled.
    must("intent", String),
    must("reason", Text, ""),
    must("manifest", Text),
    must("random_seed", BigInteger),
    may("max_cost", Double),
    #: False until the last chunk of its shots is in.
    must("complete", Boolean),
    must("submitted_at", Double),
    #: The farm's bill for all its attempts, loads and lost work so far.
    must("cost", Double, "0"),
    #: When nothing was left to do for it, as retention noticed; None while something is.
    may("ended_at", Double),
    #: When retention began to remove its details, and when it had removed them all.
    may("thinning_at", Double),
    may("thinned_at", Double),
    Index("jobs_by_age", "submitted_at"),
    partial_index("jobs_to_thin", "ended_at", where="thinned_at IS NULL"),
)

#: Shots that each job wants, by state; `accepted` for those that failed and that it is done without,
#: `rejected` and `deleted` for those whose picture a person removed from it.
job_counts = Table(
    "job_counts",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    Column("state", String, primary_key=True),
    must("shots", Integer),
    #: Of these, those whose want or removal retention has removed.
    must("thinned", Integer, "0"),
)

#: Sums over everything ever recorded (`coordinator.ledger.tallies`).
tallies = Table(
    "tallies",
    metadata,
    Column("kind", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("lane", String, primary_key=True),
    Column("vram_class", Integer, primary_key=True, autoincrement=False),
    Column("label", String, primary_key=True),
    must("value", Double),
)

#: The same sums by UTC day and owner over the attempts and batches that retention has removed.
daily_tallies = Table(
    "daily_tallies",
    metadata,
    #: On which the attempt was settled, or the batch closed.
    Column("day", Date, primary_key=True),
    #: Of the job that paid.
    Column("owner", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("lane", String, primary_key=True),
    Column("vram_class", Integer, primary_key=True, autoincrement=False),
    Column("label", String, primary_key=True),
    must("value", Double),
)

#: What shots of one batch share (`common.work.Work`), with one of them for the fit.
works = Table(
    "works",
    metadata,
    Column("key", String, primary_key=True),
    must("model", String),
    must("loras", JSON),
    #: Megapixel-forwards of one image: what speeds are measured in.
    must("amount", Double),
    #: That share the card for one image.
    must("forwards", Integer, "1"),
    must("sample", Text),
)

#: Most images of a pass on a type of card, since more ran out of memory; 0: one alone did.
ceilings = Table(
    "ceilings",
    metadata,
    Column("card_type", String, primary_key=True),
    Column("work_key", String, primary_key=True),
    Column("recipe", String, primary_key=True),
    must("images", Integer),
    must("at", Double),
)

#: What the largest pass of a size took on a type of card, at the most.
peaks = Table(
    "peaks",
    metadata,
    Column("card_type", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("height", Integer, primary_key=True, autoincrement=False),
    Column("recipe", String, primary_key=True),
    #: Images times the forwards that share the card for each.
    must("forwards", Integer),
    must("bytes", BigInteger),
)

shots = Table(
    "shots",
    metadata,
    Column("id", String, primary_key=True),
    must("state", String),
    reference("work_key", "works.key"),
    #: GiB; 0 where none is large enough by the plan.
    must("min_class", Integer),
    #: `common.shot.Shot.to_dict()` as JSON.
    must("spec", Text),
    #: Its own failures so far.
    must("attempts", Integer, "0"),
    #: Times that the engine or the node died while it was, perhaps, rendering this.
    must("crashes", Integer, "0"),
    #: Kind and sentence of the last failure, or why it fits nothing.
    must("failure", String, ""),
    must("reason", Text, ""),
    #: Times that its picture was deleted; each time its next one gets a key of its own.
    must("deletions", Integer, "0"),
    partial_index("shots_unschedulable", "work_key", where="state = 'unschedulable'"),
    partial_index("shots_failed", "id", where="state = 'failed'"),
)

#: One row for each name under which a job wants a shot.
wants = Table(
    "wants",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    #: Position in the manifest.
    Column("position", Integer, primary_key=True, autoincrement=False),
    reference("shot_id", "shots.id"),
    must("name", String),
    #: The prompt as written.
    must("template", Text),
    #: An earlier place of the same job wants this shot already.
    must("again", Boolean),
    #: Another job paid for it.
    must("reused", Boolean),
    #: Its job is done without the picture, since the shot failed.
    must("accepted", Boolean, "0"),
    Index("wants_by_shot", "shot_id", "job_id"),
)

#: Wants whose picture a person removed from the job: as they were, with who, when and what took the place.
removals = Table(
    "removals",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
    must("name", String),
    must("template", Text),
    must("again", Boolean),
    #: `rejected` or `deleted`.
    must("kind", String),
    must("removed_by", String),
    must("removed_at", Double),
    #: The shot that is rendered in its place.
    may("redo_id", String),
    Index("removals_by_shot", "shot_id", "job_id"),
)

#: One row for each waiting shot and job that wants it, in the order in which that job's claims take them.
waiting = Table(
    "waiting",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("work_key", String, primary_key=True),
    Column("min_class", Integer, primary_key=True, autoincrement=False),
    #: Those that something died with come last.
    Column("crashes", Integer, primary_key=True, autoincrement=False),
    #: Of the want.
    Column("position", Integer, primary_key=True, autoincrement=False),
    must("shot_id", String),
    Index("waiting_by_shot", "shot_id"),
    # The key is the table: a claim reads its prefix.
    sqlite_with_rowid=False,
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String, primary_key=True),
    must("owner", String),
    must("terms", String),
    must("card", JSON),
    must("vram_class", Integer),
    must("lanes", JSON),
    must("models", JSON),
    must("loras", JSON),
    #: Model to the recipes it has no file for.
    must("missing_recipes", JSON, "{}"),
    must("versions", JSON),
    must("state", String),
    must("reason", Text, ""),
    must("incarnation", Integer),
    #: Random name of the process that joined last.
    must("process", String),
    may("loaded_model", String),
    must("loaded_loras", JSON),
    may("watts", Double),
    may("temperature_c", Double),
    must("seen_at", Double),
    #: How its last pictures came out, the oldest first (`common.trust`).
    must("record", Text, ""),
    #: Since when it is distrusted; None while it is trusted. When it was trusted again last.
    may("distrusted_at", Double),
    may("trusted_at", Double),
    #: Whose doing its state is: `farm`, `operator`, `owner`.
    must("decided_by", String, "farm"),
    must("idle_s", Double, "0"),
    *money("idle_"),
    #: Of that, what this incarnation told: its heartbeats are cumulative.
    must("told_idle_s", Double, "0"),
    must("told_idle_joules", Double, "0"),
)

#: What a node was measured to need for a megapixel-forward of a model, as a moving average.
speeds = Table(
    "speeds",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    Column("model", String, primary_key=True),
    must("seconds", Double),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    reference("node_id", "nodes.id"),
    must("incarnation", Integer),
    Column("ticket", String, nullable=False, unique=True),
    must("token", String),
    must("lane", String),
    must("vram_class", Integer),
    #: The job it was claimed for.
    reference("job_id", "jobs.id"),
    reference("work_key", "works.key"),
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
    #: What it will cost, as far as known when it was leased.
    must("estimate", Double),
    #: Cumulative `Spent` of its heartbeats.
    must("spent_s", JSON),
    must("spent_joules", Double, "0"),
    must("spent_method", String),
    #: Model and LoRA loading.
    must("loads", Integer, "0"),
    must("load_s", Double, "0"),
    *money("load_"),
    #: Spent, and reported for no attempt: killed passes.
    must("lost_s", Double, "0"),
    *money("lost_"),
    partial_index("batches_leased", "expires_at", where="state = 'leased'"),
    partial_index("batches_in_hand", "node_id", where="state = 'leased'"),
    Index("batches_by_job", "job_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String, primary_key=True),
    reference("batch_id", "batches.id"),
    reference("shot_id", "shots.id"),
    #: In the order of rendering.
    must("place", Integer),
    #: The job it was claimed for, which pays.
    reference("job_id", "jobs.id"),
    reference("node_id", "nodes.id"),
    must("vram_class", Integer),
    must("lane", String),
    must("model", String),
    must("state", String),
    must("started_at", Double),
    may("settled_at", Double),
    *(must(f"{phase}_s", Double, "0") for phase in ATTEMPT_PHASES),
    *money(),
    must("energy_method", String, "estimated"),
    must("failure", String, ""),
    must("message", Text, ""),
    #: Quarantine key, SHA-256 and bytes of the upload.
    may("key", String),
    may("sha256", String),
    may("size", BigInteger),
    may("peak_bytes", BigInteger),
    may("fingerprint", JSON),
    #: When ingest was last asked for it, and how often it began.
    may("asked_at", Double),
    must("tries", Integer, "0"),
    Index("attempts_by_batch", "batch_id"),
    Index("attempts_by_shot", "shot_id"),
    Index("attempts_by_job", "job_id", "settled_at"),
    partial_index("attempts_delivered", "asked_at", where="state = 'delivered'"),
)


def _sidecar() -> tuple[Column[Any], ...]:
    """Where a picture came from: all of it, since retention removes its attempt one day."""
    return (
        must("sha256", String),
        must("size", BigInteger),
        must("attempt_id", String),
        #: The job that paid.
        must("job_id", String),
        must("lane", String),
        must("model", String),
        must("vram_class", Integer),
        must("template", Text),
        must("prompt", Text),
        must("seed", BigInteger),
        must("model_hash", String),
        must("node_id", String),
        must("recipe", String),
        #: Seconds by phase.
        must("seconds", JSON),
        must("joules", Double),
        must("energy_method", String),
        must("cost", Double),
        must("stored_at", Double),
        #: When the last live job that had it rejected it: since then its cost is waste.
        may("rejected_at", Double),
    )


#: What is stored: the sidecar of each image.
images = Table(
    "images",
    metadata,
    Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
    must("key", String),
    *_sidecar(),
    Index("images_by_sha256", "sha256"),
)

#: What was stored until a person deleted it. Its key is never used again.
deleted_images = Table(
    "deleted_images",
    metadata,
    Column("key", String, primary_key=True),
    reference("shot_id", "shots.id"),
    *_sidecar(),
    must("deleted_by", String),
    must("deleted_at", Double),
    #: When the store had removed the bytes; None: it has to do so yet.
    may("erased_at", Double),
    Index("deleted_images_by_shot", "shot_id"),
    Index("deleted_images_by_sha256", "sha256"),
    partial_index("deleted_images_to_erase", "deleted_at", where="erased_at IS NULL"),
)

#: One row for each transition, written in its transaction.
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    must("at", Double),
    must("noun", String),
    must("subject", String),
    must("event", String),
    must("source", String),
    must("target", String),
    must("detail", Text, ""),
    Index("events_by_subject", "subject"),
    partial_index("events_of_nodes", "at", where="noun = 'node'"),
)
