"""The tables. Times are seconds since 1970, durations seconds, energies joules, sizes bytes.

Every query of the sweep, the dispatcher or a claim uses an index; indexes of few rows are partial.
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
)

from coordinator.ledger.migrations.columns import may, must, partial_index, primary, reference


def money(prefix: str = "") -> tuple[Column[Any], ...]:
    """Columns for energy, its cost to the farm, the electricity in it, and the cost to a volunteer."""
    names = ("joules", "cost", "electricity", "volunteered")
    return tuple(must(f"{prefix}{name}", Double, "0") for name in names)


metadata = MetaData()

#: Phases of an attempt; `load` belongs to the batch, `ingest` is set by the verdict.
ATTEMPT_PHASES = ("encode", "denoise", "decode", "save", "upload", "ingest")


def plain(state: StrEnum) -> BindParameter[str]:
    """A state as a literal in the statement, which is required for partial indexes to be used."""
    return literal(state.value, String, literal_execute=True)


#: One row; a coordinator increments the epoch to take the lead, and an older epoch may not write.
leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True),
    must("epoch", Integer),
    #: Instance name of the leading coordinator; empty after a normal shutdown.
    must("holder", String, ""),
    #: Incremented by the leader every few seconds, which shows that it is alive.
    must("beat", BigInteger, "0"),
)

#: Entries that were added to the catalog of the running farm.
catalog_entries = Table(
    "catalog_entries",
    metadata,
    #: As in catalog files: `models`, `loras` and so on.
    *primary("section", "name"),
    must("entry", JSON),
    #: Identity to bytes, of the files that the store holds.
    must("files", JSON, "{}"),
    must("added_at", Double),
    #: Instance of the coordinator whose own catalog file has it; empty: none.
    must("listed_by", String, ""),
)

#: Keys that were created with `farm keys create`.
keys = Table(
    "keys",
    metadata,
    *primary("name"),
    #: SHA-256 of the key.
    Column("digest", String, nullable=False, unique=True),
    must("owner", String),
    must("scopes", JSON),
    #: Lanes that it may submit to; None: all.
    may("lanes", JSON),
    must("max_priority", Integer),
    #: Images and cost per period, such as `2000/day`, and calls, such as `50/second`; NULL: no limit.
    may("quota", String),
    may("max_cost", String),
    may("rate", String),
    must("created_at", Double),
    #: Name of the key with which it was created.
    must("created_by", String),
    may("expires_at", Double),
    may("revoked_at", Double),
    #: The key before the last rotation, and until when it is valid.
    may("old_digest", String),
    may("old_until", Double),
)

#: Images that were ordered with each key, and what its jobs cost, by UTC day.
key_days = Table(
    "key_days",
    metadata,
    *primary("key"),
    Column("day", Date, primary_key=True),
    must("images", Integer, "0"),
    must("cost", Double, "0"),
)

#: What the jobs of each owner cost, and the images that were rendered for them, by UTC day.
owner_days = Table(
    "owner_days",
    metadata,
    Column("owner", String, primary_key=True),
    Column("day", Date, primary_key=True),
    must("images", Integer, "0"),
    must("cost", Double, "0"),
    Index("owner_days_by_day", "day"),
)

#: Who changed what by the API.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    must("at", Double),
    #: Name of the key, and its owner; empty for keys of the settings.
    must("by", String),
    must("owner", String),
    #: Such as `job cancel`.
    must("action", String),
    must("subject", String),
    must("detail", Text, ""),
    Index("audit_by_age", "at"),
    Index("audit_by_key", "by", "id"),
    Index("audit_by_subject", "subject", "id"),
)

#: Addresses that are told of events.
webhooks = Table(
    "webhooks",
    metadata,
    *primary("id"),
    must("url", Text),
    #: Signs what is posted, so it cannot be a hash.
    must("secret", String),
    must("events", JSON),
    #: Of whose jobs; NULL: of all.
    may("owner", String),
    #: Name of the key with which it was added; NULL for a key of the settings.
    may("key", String),
    must("created_at", Double),
    #: The last event that its receiver took, or that was given up; and the last of those that are sent now.
    must("cursor", BigInteger),
    may("sending", BigInteger),
    #: Posts that failed since the last good one, since when, and when the next is due.
    must("tries", Integer, "0"),
    may("failing_since", Double),
    must("next_at", Double, "0"),
    must("given_up", Integer, "0"),
    #: The last `common.webhooks.WebhookAnswer`, newest first.
    must("answers", JSON, "[]"),
)

jobs = Table(
    "jobs",
    metadata,
    *primary("id"),
    must("name", String),
    must("owner", String),
    #: Name of the key that submitted it; NULL for a key of the settings.
    may("key", String),
    must("lane", String),
    must("priority", Integer),
    #: Intent of the user: active, paused, cancelled.
    must("intent", String),
    must("reason", Text, ""),
    must("manifest", Text),
    must("random_seed", BigInteger),
    may("max_cost", Double),
    #: Whether cards that waste energy leave it to others; none: as the farm is set.
    may("eco", Boolean),
    #: `common.exports.JobExports`; empty if images are delivered as they were rendered.
    must("exports", JSON, "[]"),
    #: Axis to the first of its values, with the groups as axis `group`; empty until the job is complete.
    must("axes", JSON, "{}"),
    #: False until the last chunk of its shots is committed.
    must("complete", Boolean),
    must("submitted_at", Double),
    #: Cost to the farm of all its attempts, loads and lost work so far.
    must("cost", Double, "0"),
    #: What its plan said when it was submitted; None: nothing.
    may("estimated_s", Double),
    may("estimated_images", Integer),
    may("estimated_cost", Double),
    #: Number of images that were rendered for it and stored; other jobs may have paid for more of its images.
    must("rendered", Integer, "0"),
    #: When the newest of its images was stored.
    may("last_image_at", Double),
    #: Since when it is paused or cancelled, and how long it was before, or was over before it was restarted.
    may("paused_at", Double),
    must("paused_s", Double, "0"),
    #: Owner of the volunteers' nodes whose images it renders again; None: an ordinary job.
    may("verifies", String),
    #: When retention found no unfinished work; None before.
    may("ended_at", Double),
    #: When retention began to remove its details, and when it finished.
    may("thinning_at", Double),
    may("thinned_at", Double),
    Index("jobs_by_age", "submitted_at"),
    Index("jobs_by_owner", "owner", "submitted_at"),
    partial_index("jobs_by_key", "key", where="key IS NOT NULL"),
    partial_index("jobs_to_thin", "ended_at", where="thinned_at IS NULL"),
)

#: Requests that may be sent again, by the name of the caller's key and their own `Idempotency-Key`.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", String, primary_key=True),
    Column("key", String, primary_key=True),
    #: SHA-256 of the request.
    must("digest", String),
    must("job_id", String),
    must("at", Double),
    #: What it was answered; NULL until its job is complete.
    may("result", JSON),
    Index("idempotency_keys_by_age", "at"),
    Index("idempotency_keys_by_job", "job_id"),
)

#: Shots that each job wants, by state; `accepted` for failed shots that it accepted as permanently missing,
#: `rejected` and `deleted` for those whose image a person removed from it.
job_counts = Table(
    "job_counts",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    *primary("state"),
    must("shots", Integer),
    #: The number of these whose want or removal was removed by retention.
    must("thinned", Integer, "0"),
)

#: Sums over everything that was ever recorded (`coordinator.ledger.tallies`).
tallies = Table(
    "tallies",
    metadata,
    *primary("kind", "model", "lane"),
    Column("vram_class", Integer, primary_key=True, autoincrement=False),
    *primary("label"),
    must("value", Double),
)

#: The same sums, by UTC day and owner, over attempts and batches removed by retention.
daily_tallies = Table(
    "daily_tallies",
    metadata,
    #: Day on which the attempt was settled or the batch closed.
    Column("day", Date, primary_key=True),
    #: Owner of the job that paid.
    *primary("owner", "kind", "model", "lane"),
    Column("vram_class", Integer, primary_key=True, autoincrement=False),
    *primary("label"),
    must("value", Double),
)

#: What nodes took, by month and use (`coordinator.ledger.charges`): attempts when they are settled, batches
#: when they are closed, and idle time.
monthly_charges = Table(
    "monthly_charges",
    metadata,
    #: Such as `2026-11`, in UTC.
    Column("month", String, primary_key=True),
    #: Owner of the job that paid; empty for idle time.
    Column("owner", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    #: Model and lane are empty for idle time.
    Column("model", String, primary_key=True),
    Column("lane", String, primary_key=True),
    Column("vram_class", Integer, primary_key=True, autoincrement=False),
    #: `image`, `failed`, `cancelled`, `duplicate`, `load`, `lost`, `verification`, `idle`.
    Column("use", String, primary_key=True),
    must("images", Integer, "0"),
    #: Those of the images that were rejected later.
    must("rejected", Integer, "0"),
    must("seconds", Double, "0"),
    *money(),
    must("storage", Double, "0"),
)

#: Work keys (`common.work.Work`), each with an example shot for the fit.
works = Table(
    "works",
    metadata,
    *primary("key"),
    must("model", String),
    must("loras", JSON),
    #: Megapixel-forwards of one image, the unit of speeds.
    must("amount", Double),
    #: Simultaneous forward passes per image.
    must("forwards", Integer, "1"),
    must("sample", Text),
    #: `common.embeddings.Embedded` of shots whose texts are all embedded in the store.
    may("embedded", JSON),
)

#: Texts of shots that are embedded in the store (`common.embeddings.texts_key`), how, and since when.
embedded_texts = Table(
    "embedded_texts",
    metadata,
    *primary("texts"),
    must("dtypes", JSON),
    must("versions", JSON),
    must("at", Double),
    Index("embedded_texts_by_age", "at"),
)

#: Largest pass that a type of card can take after a larger one ran out of memory; 0: a single image did.
ceilings = Table(
    "ceilings",
    metadata,
    *primary("card_type", "work_key", "recipe"),
    must("images", Integer),
    must("at", Double),
)

#: Measured peak memory of the largest pass of a size on a type of card.
peaks = Table(
    "peaks",
    metadata,
    *primary("card_type", "model"),
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("height", Integer, primary_key=True, autoincrement=False),
    *primary("recipe"),
    #: Images times simultaneous forward passes per image.
    must("forwards", Integer),
    must("bytes", BigInteger),
)

#: What an image of a model's usual size and settings took an idle card of a type by a recipe.
paces = Table(
    "paces",
    metadata,
    *primary("card_type", "model", "recipe"),
    #: Per megapixel-forward.
    must("seconds", Double),
    #: In pixels.
    must("width", Integer),
    must("height", Integer),
)

shots = Table(
    "shots",
    metadata,
    *primary("id"),
    must("state", String),
    reference("work_key", "works.key"),
    #: GiB; 0 if no class is large enough according to the fit.
    must("min_class", Integer),
    #: `common.shot.Shot.to_dict()` as JSON.
    must("spec", Text),
    #: Failed attempts so far.
    must("attempts", Integer, "0"),
    #: Number of deaths of an engine, node or ingest in which the shot was involved.
    must("crashes", Integer, "0"),
    #: Kind and message of the last failure, or why it fits no class.
    must("failure", String, ""),
    must("reason", Text, ""),
    #: Number of deletions of its image; part of the key of the next image.
    must("deletions", Integer, "0"),
    #: `common.embeddings.texts_key`; empty for shots of earlier versions.
    must("texts", String, ""),
    partial_index("shots_by_texts", "texts", where="state = 'waiting'"),
    partial_index("shots_unschedulable", "work_key", where="state = 'unschedulable'"),
    partial_index("shots_failed", "id", where="state = 'failed'"),
)


def _cell() -> tuple[Column[Any], ...]:
    """Where in its manifest a shot was described: its group, and axis to value."""
    return must("group_name", String, ""), must("axes", JSON, "{}")


#: One row per name under which a job wants a shot.
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
    *_cell(),
    #: An earlier position of the same job already wants this shot.
    must("again", Boolean),
    #: Another job paid for it.
    must("reused", Boolean),
    #: Its job accepted the failed shot as permanently missing.
    must("accepted", Boolean, "0"),
    Index("wants_by_shot", "shot_id", "job_id"),
)

#: Copies of wants whose image a person removed from the job, with who, when and the replacement.
removals = Table(
    "removals",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
    must("name", String),
    must("template", Text),
    *_cell(),
    must("again", Boolean),
    #: `rejected` or `deleted`.
    must("kind", String),
    must("removed_by", String),
    must("removed_at", Double),
    #: The shot that replaces it.
    may("redo_id", String),
    Index("removals_by_shot", "shot_id", "job_id"),
)

#: Images of a job that a person keeps or drops, or gave stars; of no effect on the job.
picks = Table(
    "picks",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    #: What was at the position; another one is not picked.
    must("shot_id", String),
    #: NULL: undecided.
    may("kept", Boolean),
    must("stars", Integer, "0"),
    must("picked_by", String),
    must("picked_at", Double),
)

#: One row per waiting shot and job that wants it, in the order in which claims for that job take them.
waiting = Table(
    "waiting",
    metadata,
    *primary("job_id", "work_key"),
    Column("min_class", Integer, primary_key=True, autoincrement=False),
    #: Suspects come last.
    Column("crashes", Integer, primary_key=True, autoincrement=False),
    #: Position of the want.
    Column("position", Integer, primary_key=True, autoincrement=False),
    must("shot_id", String),
    Index("waiting_by_shot", "shot_id"),
    # The table is its primary key; a claim reads a prefix.
    sqlite_with_rowid=False,
)

nodes = Table(
    "nodes",
    metadata,
    *primary("id"),
    must("owner", String),
    must("terms", String),
    must("card", JSON),
    must("vram_class", Integer),
    must("lanes", JSON),
    must("models", JSON),
    must("loras", JSON),
    #: Recipes with missing files, by model.
    must("missing_recipes", JSON, "{}"),
    #: Models that it put aside, to the reason.
    must("aside", JSON, "{}"),
    #: Models and LoRAs that it fetches when it gets work for them.
    must("fetches", JSON, "[]"),
    #: Of these models, the seconds that it takes.
    must("fetch_s", JSON, "{}"),
    #: What it does before it renders, by its last heartbeat.
    must("doing", String, ""),
    must("versions", JSON),
    must("state", String),
    must("reason", Text, ""),
    must("incarnation", Integer),
    #: Random name of the last process that joined.
    must("process", String),
    may("loaded_model", String),
    must("loaded_loras", JSON),
    may("watts", Double),
    may("temperature_c", Double),
    must("seen_at", Double),
    #: Outcomes of its last images, oldest first (`common.trust`).
    must("record", Text, ""),
    #: Owner of the first volunteer that rendered what it could not, since it was last trusted again.
    may("contradicted_by", String),
    #: Start of the distrust, None while it is trusted; and when it was last trusted again.
    may("distrusted_at", Double),
    may("trusted_at", Double),
    #: Who set its state: `farm`, `operator`, `owner`.
    must("decided_by", String, "farm"),
    #: The operator's decision to drain it, which only the operator ends; empty if there is none.
    must("drained", Text, ""),
    #: SHA-256 of the password of its broker user; empty: it has none.
    must("broker_digest", String, ""),
    must("idle_s", Double, "0"),
    *money("idle_"),
    #: The part reported by this incarnation, whose heartbeats are cumulative.
    must("told_idle_s", Double, "0"),
    must("told_idle_joules", Double, "0"),
    #: When this incarnation joined.
    must("joined_at", Double, "0"),
    must("sfw_only", Boolean, "0"),
    Index("nodes_by_owner", "owner"),
)

#: Owners of volunteers' nodes (`common.levels.OwnerStanding`).
standings = Table(
    "standings",
    metadata,
    *primary("owner"),
    must("since", Double),
    must("images", Integer, "0"),
    must("clean", Integer, "0"),
    must("known", Boolean, "0"),
    must("barred", Text, ""),
    must("level", String, "probation"),
)

#: Images of volunteers' nodes that other nodes render again, to be compared (`common.likeness`).
verifications = Table(
    "verifications",
    metadata,
    #: That of the image.
    *primary("attempt_id"),
    must("shot_id", String),
    must("node_id", String),
    must("owner", String),
    #: `chosen`, `repeated`, `recalled` or `selftest`.
    must("why", String),
    must("lane", String),
    must("recipe", String),
    must("asked_at", Double),
    #: The shot that another node renders now, a copy of the first; and such copies so far.
    may("copy_id", String),
    must("tries", Integer, "0"),
    #: `common.likeness.Opinion`, the first first.
    must("opinions", JSON, "[]"),
    #: `common.likeness.Judgement`; NULL: an opinion is awaited.
    may("verdict", String),
    may("settled_at", Double),
    partial_index("verifications_open", "copy_id", where="verdict IS NULL"),
    partial_index("verifications_of_node", "node_id", where="verdict IS NULL"),
    Index("verifications_settled", "settled_at"),
)

#: Keys of nodes, those that are no longer valid too. A name has one valid key, and a key has one name.
identities = Table(
    "identities",
    metadata,
    #: Ed25519, as hexadecimal digits.
    *primary("public_key"),
    must("node", String),
    #: The invitation by which it joined; NULL: the node key of the farm.
    may("invitation", String),
    #: As its invitation says; NULL: as the node says.
    may("owner", String),
    may("lanes", JSON),
    may("terms", String),
    must("created_at", Double),
    may("ended_at", Double),
    #: How it ended: `revoked`, `removed`, `rotated`, `replaced`, `left`.
    must("ending", String, ""),
    Index("identities_of_node", "node"),
)

#: Invitations of nodes; the node key of the farm is one more, which is not stored.
invitations = Table(
    "invitations",
    metadata,
    #: Ed25519, as hexadecimal digits, by which the secret is recognised.
    *primary("public_key"),
    #: Of the node; NULL: its owner chooses one.
    may("name", String),
    must("owner", String),
    must("lanes", JSON),
    must("terms", String),
    must("uses_left", Integer),
    must("created_at", Double),
    must("created_by", String),
    must("expires_at", Double),
)

#: Measured seconds per megapixel-forward of a model on a node, as a moving average.
speeds = Table(
    "speeds",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    *primary("model"),
    must("seconds", Double),
)

#: Measured seconds to load a model, with the start of the engine where it was not up.
loads = Table(
    "loads",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    *primary("model"),
    must("seconds", Double),
)

batches = Table(
    "batches",
    metadata,
    *primary("id"),
    reference("node_id", "nodes.id"),
    must("incarnation", Integer),
    Column("ticket", String, nullable=False, unique=True),
    must("token", String),
    must("lane", String),
    must("vram_class", Integer),
    #: The job for which it was claimed.
    reference("job_id", "jobs.id"),
    reference("work_key", "works.key"),
    must("model", String),
    must("recipe", String),
    must("pass_size", Integer),
    #: Whether its node has room for the text encoders.
    must("encodes", Boolean, "true"),
    must("state", String),
    may("outcome", String),
    must("failure", String, ""),
    must("message", Text, ""),
    must("leased_at", Double),
    must("expires_at", Double),
    may("closed_at", Double),
    #: When the lease ends unless a shot is reported before, and how long each report extends it.
    may("due_at", Double),
    may("patience_s", Double),
    #: Cost estimated at the time of the lease, without that of shots taken back since.
    must("estimate", Double),
    #: Shots taken back for idle nodes or short jobs.
    must("trimmed", Integer, "0"),
    #: The batch whose shots its node renders as well: the only way for a shot to be in two leases.
    may("duplicates", String),
    #: Shots that another batch with them delivered first.
    must("beaten", Integer, "0"),
    #: Cumulative `Spent` from its heartbeats.
    must("spent_s", JSON),
    must("spent_joules", Double, "0"),
    must("spent_method", String),
    #: Loading of model and LoRAs, and encoding ahead.
    must("loads", Integer, "0"),
    must("load_s", Double, "0"),
    *money("load_"),
    #: Spent but not reported for an attempt: killed passes.
    must("lost_s", Double, "0"),
    *money("lost_"),
    partial_index("batches_leased", "expires_at", where="state = 'leased'"),
    partial_index("batches_due", "due_at", where="state = 'leased'"),
    partial_index("batches_in_hand", "node_id", where="state = 'leased'"),
    Index("batches_by_job", "job_id"),
)

attempts = Table(
    "attempts",
    metadata,
    *primary("id"),
    reference("batch_id", "batches.id"),
    reference("shot_id", "shots.id"),
    #: Rendering order.
    must("place", Integer),
    #: The job for which it was claimed, and which pays.
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
    #: Cost of keeping and delivering its image, set by the verdict.
    must("storage_cost", Double, "0"),
    must("energy_method", String, "estimated"),
    must("failure", String, ""),
    must("message", Text, ""),
    #: Quarantine key, SHA-256 and bytes of the upload.
    may("key", String),
    may("sha256", String),
    may("size", BigInteger),
    may("peak_bytes", BigInteger),
    may("fingerprint", JSON),
    #: When ingest was last notified of it, and how often it started.
    may("asked_at", Double),
    must("tries", Integer, "0"),
    Index("attempts_by_batch", "batch_id"),
    Index("attempts_by_shot", "shot_id"),
    Index("attempts_by_job", "job_id", "settled_at"),
    partial_index("attempts_delivered", "asked_at", where="state = 'delivered'"),
)


def _sidecar() -> tuple[Column[Any], ...]:
    """Provenance of an image; complete, because retention eventually removes its attempt."""
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
        #: `common.perceptual_hash`; NULL for images of earlier versions.
        may("perceptual_hash", String),
        #: When the last live job that had it rejected it; from then on its cost is waste.
        may("rejected_at", Double),
        #: Why operators alone see it; empty: others do, too.
        must("withheld", Text, ""),
    )


#: Stored images with their sidecars.
images = Table(
    "images",
    metadata,
    Column("shot_id", String, ForeignKey("shots.id"), primary_key=True),
    must("key", String),
    *_sidecar(),
    Index("images_by_sha256", "sha256"),
    Index("images_by_node", "node_id", "stored_at"),
    partial_index("images_withheld", "stored_at", where="withheld <> ''"),
)

#: Parts of the perceptual hashes of images, deleted ones too (`common.likeness.hash_parts`).
hash_parts = Table("hash_parts", metadata, *primary("part", "shot_id"), sqlite_with_rowid=False)

#: Condition that an image is shown to others than operators: all but what operators do asks for it.
SHOWN = images.c.withheld == ""

#: Deleted images. Their keys are never reused.
deleted_images = Table(
    "deleted_images",
    metadata,
    *primary("key"),
    reference("shot_id", "shots.id"),
    *_sidecar(),
    must("deleted_by", String),
    must("deleted_at", Double),
    #: When the store had removed the bytes; None if pending.
    may("erased_at", Double),
    Index("deleted_images_by_shot", "shot_id"),
    Index("deleted_images_by_sha256", "sha256"),
    partial_index("deleted_images_to_erase", "deleted_at", where="erased_at IS NULL"),
)

#: One row per transition, written in its transaction.
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
