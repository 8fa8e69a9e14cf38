"""What operators ask of the coordinator over HTTP, and what they see. Strict, like `common.messages`.

Durations are seconds, sizes bytes, money is in the farm's currency, times are seconds since 1970 (UTC).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.messages import CardFacts, Message, Sha256
from common.nodes import Terms


class ErrorView(Message):
    """The body of every answer of 400 and above: one sentence that names the thing and the remedy."""

    error: str
    #: What the command line exits with for it (`common.errors`).
    exit_code: int = 1


class Submit(Message):
    """POST /v1/jobs: a manifest with all files inlined."""

    manifest: str
    #: What messages call the manifest, such as its path on the sender's machine.
    source: str = "manifest"
    #: Replaces the manifest's own name.
    name: str | None = None
    owner: str = "farm"
    #: Replaces the manifest's `random_seed` (what `--reroll` drew).
    random_seed: Annotated[int, Field(ge=0)] | None = None
    #: What the plan showed; another number of images is refused. None: not asked.
    expected: int | None = None


class MisfitView(Message):
    """Shots that no card of the farm takes, and why."""

    reason: str
    shots: int


class Submitted(Message):
    id: str
    name: str
    #: All shots of the manifest: `new` + `reused` + `unschedulable`.
    images: int
    new: int
    #: Stored already, or wanted by another job too.
    reused: int
    unschedulable: int
    misfits: tuple[MisfitView, ...] = ()
    random_seed: int


class BudgetView(Message):
    """What a job has cost of what it may."""

    limit: float
    cost: float
    currency: str


class JobSummary(Message):
    """One line of GET /v1/jobs."""

    id: str
    name: str
    owner: str
    lane: str
    priority: int
    #: What the operator wants: `active`, `paused`, `cancelled`.
    intent: str
    #: What follows from intent and shots: `waiting`, `running`, `paused`, `cancelled`, `done`, `failed`,
    #: `unschedulable` (what is left fits no node).
    status: str
    #: Why the farm itself paused it.
    reason: str = ""
    submitted_at: float
    images: int
    #: Shots by state (`common.states`).
    counts: dict[str, int]
    #: None: it has no limit.
    budget: BudgetView | None = None


class Priority(Message):
    """POST /v1/jobs/{id}/priority."""

    #: The larger goes first.
    priority: Annotated[int, Field(ge=0, le=100)]


class FailureView(Message):
    """Shots of a job that it does not get as things are, and why."""

    #: `failed`; `unschedulable`: no node of the farm takes them.
    state: str = "failed"
    kind: str
    #: The last of a kind may stand for several that few shots have.
    message: str
    shots: int


class JobView(JobSummary):
    """GET /v1/jobs/{id}."""

    #: Shots in hand, by name of the node.
    running: dict[str, int]
    #: Over the last minutes in which images were stored.
    images_per_minute: float
    #: Seconds until the last image; None while nothing tells.
    eta_s: float | None
    cost: float
    currency: str
    failures: tuple[FailureView, ...] = ()


class ImageView(Message):
    """One shot of a job, in the manifest's order."""

    #: Place in the job, from 0: what `after` of the next page names.
    position: int
    shot_id: Sha256
    #: Output path without extension.
    name: str
    state: str
    model: str
    prompt: str
    seed: int
    width: int
    height: int
    #: `png`, `webp` or `jpeg`.
    format: str
    #: Presigned GET of a stored image.
    url: str | None = None
    sha256: Sha256 | None = None
    size: int | None = None
    cost: float | None = None
    #: Of the stored attempt, all phases.
    seconds: float | None = None
    node: str | None = None
    #: Of a failed or unschedulable one.
    message: str = ""


class ImagePage(Message):
    """GET /v1/jobs/{id}/images?after=&limit=: `next` is the next page's `after`, None at the end."""

    images: tuple[ImageView, ...]
    next: int | None = None


class AcceptedShot(Message):
    """POST /v1/shots/{id}/accept: the whole id of the shot."""

    id: Sha256


class CostRow(Message):
    model: str
    vram_class: int
    images: int
    #: Attempts that ended in a failure.
    failures: int
    seconds_per_image: float | None
    cost: float
    cost_per_image: float | None


class CostTable(Message):
    """GET /v1/jobs/{id}/table: all attempts of a job, failed ones and model loading too."""

    currency: str
    rows: tuple[CostRow, ...]


class NodeView(Message):
    """One line of GET /v1/nodes."""

    id: str
    name: str
    owner: str
    lanes: tuple[str, ...]
    card: str
    #: What a plan for this farm reckons with.
    facts: CardFacts
    terms: Terms
    #: Model to the seconds measured for a megapixel-forward.
    speeds: dict[str, float] = Field(default_factory=dict)
    vram_class: int
    #: `common.states`.
    state: str
    reason: str = ""
    #: Whose doing its state is.
    decided_by: Literal["farm", "operator", "owner"] = "farm"
    #: Whether it long-polls for work now.
    parked: bool = False
    batch_id: str | None = None
    loaded_model: str | None = None
    models: tuple[str, ...] = ()
    watts: float | None = None
    temperature_c: float | None = None
    seen_at: float


#: Whose wish a node follows.
Who = Literal["operator", "owner"]


class NodeWish(Message):
    """POST /v1/nodes/{id}/drain, pause, resume, quarantine, forgive."""

    #: For whoever asks why.
    reason: Annotated[str, Field(max_length=200)] = ""
    #: Whose wish it is, on a farm without keys; with keys the node's key is its owner's.
    by: Who = "operator"


class QueueView(Message):
    lane: str
    vram_class: int
    #: Shots whose smallest fitting class this is.
    waiting: int
    #: Tickets that lie on the queue; None while the broker does not answer.
    tickets: int | None


class StatusView(Message):
    """GET /v1/status."""

    version: str
    currency: str
    started_at: float
    broker: Annotated[str, Field(description="`up`, or why not")]
    queues: tuple[QueueView, ...]
    nodes: tuple[NodeView, ...]
    jobs: tuple[JobSummary, ...]
    #: Over the last minute.
    requests_per_minute: float
    tickets_per_minute: float
    misfits: tuple[MisfitView, ...] = ()


class Explanation(Message):
    """GET /v1/explain/{subject}: why a job, a shot or a node stands as it does."""

    #: Its full id or name.
    subject: str
    kind: Literal["job", "shot", "node"]
    #: What is, and what holds it up, the weightiest first; at least one.
    sentences: tuple[str, ...]
    #: What a person can do about it; empty where nothing needs to be done.
    remedy: str = ""


class MemoryView(Message):
    """One line of GET /v1/memory: what cards of one type have shown about a model at one size."""

    #: Name and VRAM class.
    card: str
    model: str
    recipe: str
    width: int
    height: int
    #: Denoiser runs at once in the largest pass that was measured: its images, twice with guidance.
    forwards: int | None = None
    #: Bytes that this pass held at the most, and that were predicted for it.
    peak_bytes: int | None = None
    predicted_bytes: int | None = None
    #: Images of a pass at the most, since a larger one ran out of memory; 0: one image did. None: no limit.
    most_images: int | None = None
    #: Of the shots that ran out.
    guidance: float | None = None
    loras: tuple[str, ...] = ()


class ModelView(Message):
    """One line of GET /v1/models."""

    name: str
    family: str
    identity: str | None
    license: str
    commercial: bool
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    #: Names of the nodes that hold its files.
    nodes: tuple[str, ...] = ()
