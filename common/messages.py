"""What nodes, ingest and the coordinator say to each other over HTTP. Strict: an unknown field is refused.

Durations are seconds, energies joules, sizes bytes. Wall clocks only label; durations are measured on
the sender's monotonic clock.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.nodes import Terms
from common.wire import storable

#: Bumped when a node and a coordinator of different versions would misunderstand each other.
PROTOCOL = 1
#: Headers of every call of a node: its version of shotfarm, and its protocol. A farm of another protocol
#: answers with its own version.
VERSION_HEADER, PROTOCOL_HEADER = "Farm-Version", "Farm-Protocol"

#: Thirty years, and what cards would burn in them: sums of such stay numbers.
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Joules = Annotated[float, Field(ge=0, le=1e13)]
Watts = Annotated[float, Field(ge=0, le=1e5)]
Bytes = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, data: Any) -> Any:
        return storable(data)


class CardFacts(Message):
    """`common.nodes.Card` on the wire."""

    name: str
    backend: Literal["cuda", "cpu"]
    vram_bytes: Annotated[int, Field(gt=0)]
    usable_bytes: Annotated[int, Field(gt=0)]
    ram_bytes: Annotated[int, Field(gt=0)]
    compute_capability: tuple[int, int] | None = None
    watts: Watts | None = None


class Join(Message):
    """POST /v1/nodes: each start of a node is a new incarnation; its older leases close as vanished."""

    name: Name
    card: CardFacts
    owner: str = "farm"
    lanes: tuple[Name, ...] = ("public",)
    #: Names of catalog models and LoRAs whose files the node holds.
    models: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    #: Model to the recipes that the node cannot follow, for want of a file that only they read.
    missing_recipes: dict[str, tuple[str, ...]] = {}
    #: Whether the farm pays for its electricity and idle time (`owned`, `rented`) or not (`volunteer`).
    terms: Terms = "owned"
    versions: dict[str, str] = {}
    #: Random name of the joining process, the same for as long as it lives.
    process: str = ""
    #: Whether this process has joined before. It is refused when another process has taken the name since;
    #: a fresh one (a restart after a kill) takes it over.
    again: bool = False


class Joined(Message):
    node_id: str
    incarnation: int
    vram_class: int
    #: Celery queues this node may consume, one a lane.
    queues: tuple[str, ...]
    #: redis:// URL under the node's own restricted user, at the advertised address.
    broker_url: str
    heartbeat_s: Seconds
    claim_wait_s: Seconds
    stall_render_s: Seconds
    stall_load_s: Seconds
    hard_limit_s: Seconds


class Spent(Message):
    """Cumulative work of one lease or of an idle node, so that killed attempts are costed too."""

    #: Joules of the card, and how they were had: `counter`, `sampled`, `estimated`.
    joules: Joules = 0.0
    energy_method: Literal["counter", "sampled", "estimated"] = "estimated"
    #: Seconds by phase: load, encode, denoise, decode, save, upload.
    seconds: dict[str, Seconds] = {}


class Beat(Message):
    """POST /v1/nodes/{id}/beats, every `heartbeat_s`: renews the lease it names."""

    incarnation: int
    #: The leased batch and its token; None while idle.
    batch_id: str | None = None
    token: str | None = None
    #: Of the lease in hand.
    spent: Spent = Spent()
    #: Step progress of the running pass.
    steps_done: int = 0
    loaded_model: str | None = None
    loaded_loras: tuple[str, ...] = ()
    watts: Watts | None = None
    temperature_c: float | None = None
    #: Cumulative seconds and joules of this incarnation outside any lease's phases.
    idle_s: Seconds = 0.0
    idle_joules: Joules = 0.0


class BeatAnswer(Message):
    #: `go on`; `stop`: drop the batch now, the lease is over; `drain`: finish the batch, take no more;
    #: `pause`: drop the batch and free the card until told otherwise.
    order: Literal["go on", "stop", "drain", "pause"]
    reason: str = ""
    #: Shots of the batch that nobody wants any more: not started ones are dropped, and a pass of nothing else
    #: ends at its next step.
    cancelled: tuple[str, ...] = ()


class Listen(Message):
    """POST /v1/nodes/{id}/orders: waits up to `wait_s` for an answer other than `known`."""

    incarnation: int
    #: The leased batch and its token; None while idle.
    batch_id: str | None = None
    token: str | None = None
    #: What the node heard last of this batch.
    known: BeatAnswer = BeatAnswer(order="go on")
    wait_s: Seconds = 20.0


class Leave(Message):
    """POST /v1/nodes/{id}/leave: the node has ended."""

    incarnation: int


class Claim(Message):
    """POST /v1/claims: presents a ticket, waits up to `wait_s` for work."""

    node_id: str
    incarnation: int
    #: The Celery task id of the ticket in hand.
    ticket: str
    loaded_model: str | None = None
    loaded_loras: tuple[str, ...] = ()
    wait_s: Seconds = 20.0


class OrderedShot(Message):
    """One shot of a batch; `spec` is `common.shot.Shot.to_dict()`."""

    id: Sha256
    attempt_id: str
    spec: dict[str, Any]


class Lease(Message):
    """The right of one node to work on one batch; each heartbeat that names it renews it."""

    batch_id: str
    token: str
    model: str
    #: Name of the catalog recipe that the fit chose for this card.
    recipe: str
    #: Images of one pass at the most.
    pass_size: Annotated[int, Field(ge=1)]
    shots: tuple[OrderedShot, ...]


class Nothing(Message):
    """No work for this node now, and why."""

    reason: str


class ClaimAnswer(Message):
    lease: Lease | None = None
    nothing: Nothing | None = None


class GrantRequest(Message):
    """POST /v1/batches/{id}/grants: asks to upload one rendered shot into quarantine."""

    token: str
    shot_id: Sha256
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]
    content_type: Literal["image/png", "image/webp", "image/jpeg"]


class Grant(Message):
    """A presigned PUT: exactly these bytes, to exactly this key, for a while."""

    key: str
    url: str
    headers: dict[str, str]


class Report(Message):
    """POST /v1/batches/{id}/reports: one shot is uploaded, or failed. Repeating it changes nothing."""

    token: str
    shot_id: Sha256
    outcome: Literal["delivered", "failed"]
    #: Of a delivered shot.
    key: str | None = None
    sha256: Sha256 | None = None
    size: Bytes | None = None
    #: Of a failed shot: a kind of `common.failures`, and a sentence.
    failure: str | None = None
    message: str = ""
    #: This shot's share of its pass.
    spent: Spent = Spent()
    peak_bytes: Bytes | None = None
    #: What the bits depend on besides the spec: versions, dtype, batch size, recipe.
    fingerprint: dict[str, Any] = {}


class Close(Message):
    """POST /v1/batches/{id}/close: the node is through; what it left undone returns to the backlog."""

    token: str
    outcome: Literal["finished", "released", "failed", "oom"]
    failure: str | None = None
    message: str = ""
    #: What the card held when its memory ran out.
    peak_bytes: Bytes | None = None
    #: Model and LoRA loading of this batch, charged to it and not to a shot.
    load: Spent = Spent()
    #: All of the lease, cumulative like a beat's, so that a pass that ended without reports is costed.
    spent: Spent = Spent()


class Ack(Message):
    #: What the coordinator now holds the shot or batch to be.
    state: str
    #: True when this call had been answered before.
    repeated: bool = False


class Delivery(Message):
    """GET /v1/deliveries/{attempt}: what ingest needs to check and store one upload."""

    attempt_id: str
    shot_id: Sha256
    spec: dict[str, Any]
    #: The prompt as written, for the image's own metadata.
    template: str
    key: str
    sha256: Sha256
    size: int
    final_key: str
    model_hash: str
    node: str
    recipe: str


class Verdict(Message):
    """POST /v1/deliveries/{attempt}: ingest stored the image, refuses it, or tries again later."""

    outcome: Literal["stored", "duplicate", "rejected", "put off"]
    #: Of the stored object; the attempt is the one that its metadata names.
    attempt_id: str | None = None
    sha256: Sha256 | None = None
    size: Bytes | None = None
    failure: str | None = None
    message: str = ""
    #: Seconds of ingest.
    seconds: Seconds = 0.0
