"""Messages between nodes, ingest and the coordinator over HTTP. Unknown fields are rejected.

Durations are in seconds, energies in joules, sizes in bytes. Durations are measured on the monotonic clock of
the sender; wall clock times serve as labels only.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_json

from common.classifiers import ClassifierForm
from common.likeness import PERCEPTUAL_HASH
from common.nodes import Terms
from common.wire import storable

#: Bumped when a node and a coordinator of different versions would misunderstand each other.
PROTOCOL = 4
#: Headers of every call of a node: its version of shotfarm, and its protocol. A farm of another protocol
#: answers with its own version.
VERSION_HEADER, PROTOCOL_HEADER = "Farm-Version", "Farm-Protocol"
#: Of calls that the gateway passes on; nobody can send it through the gateway.
GATEWAY_HEADER = "Farm-Gateway"
#: Where the gateway relays calls of the store, followed by the path of a presigned URL.
RELAY_PATH = "/store"

#: Thirty years, and what cards would burn in them: sums of such stay numbers.
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Joules = Annotated[float, Field(ge=0, le=1e13)]
Watts = Annotated[float, Field(ge=0, le=1e5)]
Bytes = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TextsKey = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]

#: Bytes; four times what the longest prompt of any known family has.
MAX_EMBEDDING = 16 * 2**20
#: Why a text was encoded although its embedding was to be fetched. `missing`: the store has none. `damaged`:
#: other bytes than were stored. `unfit`: an embedding that the loaded model cannot take. `unavailable`: the
#: farm or its store did not answer, or not in time.
Fallback = Literal["missing", "damaged", "unfit", "unavailable"]

#: Names and versions, and sentences: the rest of a longer one is cut, so that what it is about still counts.
Short = Annotated[str, Field(max_length=200)]
Sentence = Annotated[str, AfterValidator(lambda text: text[:2000])]
#: Bytes of a fingerprint as JSON; one has about a kilobyte.
_FINGERPRINT = 16 * 2**10


def _bounded(fingerprint: dict[str, Any]) -> dict[str, Any]:
    if len(to_json(fingerprint)) > _FINGERPRINT:
        raise ValueError(f"has more than {_FINGERPRINT:,} bytes as JSON")
    return fingerprint


_T = TypeVar("_T")
#: As many as one call may carry.
Several = Annotated[tuple[_T, ...], Field(min_length=1, max_length=256)]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, data: Any) -> Any:
        return storable(data)


class CardFacts(Message):
    """`common.nodes.Card` on the wire."""

    name: Short
    backend: Literal["cuda", "cpu"]
    vram_bytes: Annotated[int, Field(gt=0)]
    usable_bytes: Annotated[int, Field(gt=0)]
    ram_bytes: Annotated[int, Field(gt=0)]
    compute_capability: tuple[int, int] | None = None
    watts: Watts | None = None


class Holdings(Message):
    """The models and LoRAs of the catalog that a node renders with."""

    models: tuple[Short, ...] = ()
    loras: tuple[Short, ...] = ()
    #: For each model, the recipes that the node cannot use because a file is missing.
    missing_recipes: dict[Short, tuple[Short, ...]] = {}
    #: Models and LoRAs that the node put aside, and why, until the catalog changes or some time has passed.
    aside: dict[Short, Sentence] = {}
    #: Those of the models and LoRAs that it fetches from the farm when it gets work for them.
    fetches: tuple[Short, ...] = ()
    #: Of these models, the seconds that fetching takes by what the machine has measured, or assumes.
    fetch_s: dict[Short, Seconds] = {}


class NewHoldings(Holdings):
    """POST /v1/nodes/{id}/holdings: what a node offers has changed since it joined."""

    incarnation: int


class RecipePace(Message):
    """How an idle node rendered an image of a model's usual size and settings by one recipe."""

    model: str
    recipe: str
    #: Per megapixel-forward: text encoding and decoding are part of it.
    seconds: Annotated[float, Field(gt=0, le=1e6)]
    #: Peak memory of the pass of one image.
    peak_bytes: Bytes | None = None


class Measurements(Message):
    """POST /v1/nodes/{id}/measurements: what a node measured while it had nothing to do, now or earlier."""

    incarnation: int
    paces: Annotated[tuple[RecipePace, ...], Field(max_length=256)]


class ModelFile(Message):
    """A file of a model in the store, which the URL reads for a limited time, in ranges too."""

    url: str
    size: Bytes


class Join(Holdings):
    """POST /v1/nodes: each start of a node is a new incarnation; leases of earlier ones close as vanished."""

    name: Name
    card: CardFacts
    owner: Short = "farm"
    lanes: Annotated[tuple[Name, ...], Field(max_length=256)] = ("public",)
    #: Whether the farm pays for its electricity and idle time (`owned`, `rented`) or not (`volunteer`).
    terms: Terms = "owned"
    #: Whether its owner wants no work but that of lanes that promise SFW.
    sfw_only: bool = False
    versions: Annotated[dict[Short, Short], Field(max_length=256)] = {}
    #: Random name of the joining process, constant during its lifetime.
    process: Short = ""
    #: Whether this process has joined before. It is rejected if another process has taken the name since;
    #: a new process (after a restart) takes the name over.
    again: bool = False


class Addresses(Message):
    """GET /v1/addresses: where nodes connect to besides the API; their firewall must allow it."""

    #: `host:port` of the broker, where nodes take tickets, or the host alone; empty through the gateway.
    broker: str
    #: URL of the store, where nodes upload images; empty if the gateway relays uploads and downloads.
    store: str


class Joined(Message):
    node_id: str
    incarnation: int
    vram_class: int
    #: Celery queues that this node may consume, one per lane; none for a node that parks.
    queues: tuple[str, ...]
    #: redis:// URL with the broker user of this node, at the advertised address; empty for a node that parks.
    broker_url: str
    #: What the node said of itself and its invitation says otherwise; empty if there is nothing.
    note: str = ""
    heartbeat_s: Seconds
    claim_wait_s: Seconds
    stall_render_s: Seconds
    stall_load_s: Seconds
    hard_limit_s: Seconds
    #: Of the farm's catalog; a node that has another reads it again.
    catalog_version: str = ""


class Spent(Message):
    """Cumulative work of one lease or an idle node, so that killed attempts are billed too."""

    #: Energy of the card, and how it was measured: `counter`, `sampled`, `estimated`.
    joules: Joules = 0.0
    energy_method: Literal["counter", "sampled", "estimated"] = "estimated"
    #: Seconds by phase: load, encode, denoise, decode, save, upload.
    seconds: dict[str, Seconds] = {}


class Heartbeat(Message):
    """POST /v1/nodes/{id}/beats, every `heartbeat_s`: renews the lease it names."""

    incarnation: int
    #: The leased batch and its token; None while idle.
    batch_id: str | None = None
    token: str | None = None
    #: Of the lease in hand.
    spent: Spent = Spent()
    #: Step progress of the running pass.
    steps_done: int = 0
    #: What it does before it renders, such as `fetching sdxl 40 %`.
    doing: Annotated[str, Field(max_length=200)] = ""
    loaded_model: Short | None = None
    loaded_loras: tuple[Short, ...] = ()
    watts: Watts | None = None
    temperature_c: float | None = None
    #: Cumulative seconds and joules of this incarnation outside any lease's phases.
    idle_s: Seconds = 0.0
    idle_joules: Joules = 0.0


class HeartbeatAnswer(Message):
    #: `go on`; `stop`: drop the batch, its lease has ended; `drain`: finish the batch and take no more;
    #: `pause`: drop the batch and release the GPU until another order.
    order: Literal["go on", "stop", "drain", "pause"]
    reason: str = ""
    #: Shots of the batch that the node should not render, because no job wants them any more or an idle node
    #: takes them: it drops those not started, and ends a pass of only such shots at the next step.
    cancelled: tuple[str, ...] = ()
    #: Of the farm's catalog, in the answer to a heartbeat; a node that has another reads it again.
    catalog_version: str = ""


class Listen(Message):
    """POST /v1/nodes/{id}/orders: wait up to `wait_s` for an order other than `known`."""

    incarnation: int
    #: The leased batch and its token; None while idle.
    batch_id: str | None = None
    token: str | None = None
    #: The order that the node last received for this batch.
    known: HeartbeatAnswer = HeartbeatAnswer(order="go on")
    wait_s: Seconds = 20.0


class Leave(Message):
    """POST /v1/nodes/{id}/leave: the node has stopped."""

    incarnation: int


class Claim(Message):
    """POST /v1/claims: present a ticket and wait up to `wait_s` for work."""

    node_id: str
    incarnation: int
    #: Celery task ID of the ticket.
    ticket: Short
    loaded_model: Short | None = None
    loaded_loras: tuple[Short, ...] = ()
    wait_s: Seconds = 20.0


class LeasedShot(Message):
    """One shot of a batch; `spec` is `common.shot.Shot.to_dict()`."""

    id: Sha256
    attempt_id: str
    spec: dict[str, Any]


class Lease(Message):
    """The right of one node to work on one batch, renewed by each heartbeat that names the batch."""

    batch_id: str
    token: str
    model: str
    #: Name of the catalog recipe that the fit chose for this card.
    recipe: str
    #: Maximum number of images in one pass.
    pass_size: Annotated[int, Field(ge=1)]
    #: Whether there is room for the text encoders; else a batch whose embeddings do not arrive is released.
    encodes: bool = True
    shots: tuple[LeasedShot, ...]
    #: Images of such work that the node will probably render from now on, this batch included; 0: unknown.
    remaining: Annotated[int, Field(ge=0)] = 0
    #: A model that the node will probably get next and has to fetch: it may do so while it renders.
    prefetch: str | None = None
    #: Owner of the job, for the owner of the card.
    owner: str = ""


class Nothing(Message):
    """No work is available for this node, and why."""

    reason: str


class ClaimAnswer(Message):
    lease: Lease | None = None
    nothing: Nothing | None = None


class Park(Message):
    """POST /v1/nodes/{id}/park: wait up to `wait_s` for work, or for an order other than `known`.

    By this one call a node without tickets does what others do by heartbeats, order calls and claims.
    """

    #: Of the node without a batch.
    beat: Heartbeat
    #: The order that the node received last.
    known: HeartbeatAnswer = HeartbeatAnswer(order="go on")
    #: Random, and the same until a lease came of it: an answer may be lost.
    turn: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    wait_s: Seconds = 60.0


class ParkAnswer(ClaimAnswer):
    """A lease, or what else there is to say."""

    order: HeartbeatAnswer


class GrantRequest(Message):
    """POST /v1/batches/{id}/grants: request an upload URL for one rendered shot."""

    token: str
    shot_id: Sha256
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]
    content_type: Literal["image/png", "image/webp", "image/jpeg"]


class Grant(Message):
    """A presigned PUT into quarantine, for one key, length, type and SHA-256, valid for a limited time."""

    key: str
    url: str
    headers: dict[str, str]


class GrantRequests(Message):
    """POST /v1/batches/{id}/pass/grants: asks for several shots at once, such as those of a pass."""

    requests: Several[GrantRequest]


class Grants(Message):
    """In the order of the requests."""

    grants: tuple[Grant, ...]


class EmbeddingsRequest(Message):
    """POST /v1/batches/{id}/embeddings: ask for the embeddings of all texts of a batch."""

    token: str
    #: `TextEncoding.key`: all that decides them besides the texts.
    encoding: Sha256


class TextAhead(Message):
    """A text of other shots of the same job, model and LoRAs, which name no textual inversions."""

    #: Of its embedding.
    key: Sha256
    text: str
    negative: bool = False
    clip_skip: int = 0


class StoredEmbeddings(Message):
    """Where the embeddings of a batch are, as far as the store has them; empty if nodes share none."""

    #: Key to a presigned GET, valid for a limited time.
    urls: dict[Sha256, str]
    #: Whether the store takes embeddings from this node.
    takes: bool
    #: Texts to be encoded with those of the batch, for nodes that have no room for the text encoder.
    ahead: Annotated[tuple[TextAhead, ...], Field(max_length=256)] = ()
    #: For so long at most; a text that was begun is finished.
    ahead_s: Seconds = 0.0


class EmbeddingUpload(Message):
    key: Sha256
    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=MAX_EMBEDDING)]


class EmbeddingsReport(Message):
    """POST /v1/batches/{id}/embeddings/reports: how texts became embeddings; asks for their uploads."""

    token: str
    encoding: Sha256
    #: Texts whose embedding came from the store, and texts that the node encoded.
    fetched: Annotated[int, Field(ge=0, le=10**6)] = 0
    encoded: Annotated[int, Field(ge=0, le=10**6)] = 0
    #: Keys of texts that were encoded ahead, whose embeddings the store has now.
    ahead: Annotated[tuple[Sha256, ...], Field(max_length=256)] = ()
    #: The encoded ones whose embedding was to be fetched, by reason.
    fallbacks: dict[Fallback, Annotated[int, Field(ge=0, le=10**6)]] = {}
    #: Keys of stored embeddings that cannot be used; they are deleted.
    useless: Annotated[tuple[Sha256, ...], Field(max_length=256)] = ()
    uploads: Annotated[tuple[EmbeddingUpload, ...], Field(max_length=256)] = ()
    #: Whether the store has the embeddings of all texts of the batch now.
    complete: bool = False


class Report(Message):
    """POST /v1/batches/{id}/reports: one shot was uploaded or failed. Idempotent."""

    token: str
    shot_id: Sha256
    outcome: Literal["delivered", "failed"]
    #: Of a delivered shot.
    key: str | None = None
    sha256: Sha256 | None = None
    size: Bytes | None = None
    #: Of a failed shot: a kind from `common.failures`, and a sentence.
    failure: Short | None = None
    message: Sentence = ""
    #: This shot's share of its pass.
    spent: Spent = Spent()
    peak_bytes: Bytes | None = None
    #: Everything that affects the pixels besides the spec: versions, dtype, batch size, recipe.
    fingerprint: Annotated[dict[str, Any], AfterValidator(_bounded)] = {}


class Close(Message):
    """POST /v1/batches/{id}/close: the node has finished; unreported shots return to the backlog."""

    token: str
    outcome: Literal["finished", "released", "failed", "oom"]
    failure: Short | None = None
    message: Sentence = ""
    #: Bytes in use when the card ran out of memory.
    peak_bytes: Bytes | None = None
    #: Loading of model and LoRAs, and encoding ahead (`encode`), billed to the batch.
    load: Spent = Spent()
    #: Seconds of `load` that went into compiling the model for many images to come.
    compile_s: Seconds = 0.0
    #: Cumulative work of the lease, as in heartbeats, so that unreported passes are billed.
    spent: Spent = Spent()


class Ack(Message):
    #: State of the shot or batch after the call.
    state: str
    #: Whether the same call was already answered before.
    repeated: bool = False


class Reports(Message):
    """POST /v1/batches/{id}/pass/reports: several reports at once, such as those of a pass."""

    reports: Several[Report]


class Acks(Message):
    """In the order of the reports."""

    acks: tuple[Ack, ...]


class DeliveryRequest(Message):
    """POST /v1/deliveries: ingest asks for the uploads of several attempts."""

    attempt_ids: Several[str]


class Screening(Message):
    """A classifier that judges an image before others than operators see it."""

    classifier: str
    form: ClassifierForm
    #: File below `classifiers` in a folder of models.
    path: str
    sha256: Sha256
    #: Label to the score from which on the image is withheld.
    thresholds: dict[str, float]


class Delivery(Message):
    """Data that ingest needs to check and store one upload."""

    attempt_id: str
    shot_id: Sha256
    spec: dict[str, Any]
    #: The prompt as written in the manifest, for the image metadata.
    template: str
    key: str
    sha256: Sha256
    size: int
    final_key: str
    model_hash: str
    node: str
    recipe: str
    #: Whose classifiers judge it; None: it is only compared, and nobody sees it.
    lane: str | None = None
    screenings: tuple[Screening, ...] = ()


class Deliveries(Message):
    """Those of the attempts that still need a verdict."""

    deliveries: tuple[Delivery, ...]


class Verdict(Message):
    """Whether ingest stored, rejected or postponed the image of an attempt."""

    outcome: Literal["stored", "duplicate", "rejected", "put off"]
    #: Of the stored object; the attempt named in its metadata.
    attempt_id: str | None = None
    sha256: Sha256 | None = None
    size: Bytes | None = None
    failure: str | None = None
    message: str = ""
    #: Why operators alone are to see the stored image, as a sentence; empty: others do, too.
    withheld: str = ""
    #: Of what is stored, to compare what images show.
    perceptual_hash: Annotated[str, Field(pattern=PERCEPTUAL_HASH)] | None = None
    #: Seconds of ingest.
    seconds: Seconds = 0.0


class AttemptVerdict(Message):
    attempt_id: str
    verdict: Verdict


class Verdicts(Message):
    """POST /v1/verdicts: what ingest found of several attempts. Idempotent."""

    verdicts: Several[AttemptVerdict]
