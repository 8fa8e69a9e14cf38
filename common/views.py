"""Messages between operators and the coordinator over HTTP. Unknown fields are rejected.

Durations are in seconds, sizes in bytes, money in the currency of the farm, times in seconds since
1970 (UTC).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from common.messages import CardFacts, Message, Sha256, TextsKey
from common.nodes import Terms
from common.proper_names import PATTERN, owner_name


class EstimateView(Message):
    """What the plan of a job says before it is submitted."""

    #: Until the last image, including what is rendered before it for other jobs.
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    #: To be rendered.
    images: Annotated[int, Field(ge=0, lt=2**31)]
    #: To the farm.
    cost: Annotated[float, Field(ge=0, le=1e12)]


class Submit(Message):
    """POST /v1/jobs: a manifest with all referenced files inlined."""

    manifest: str
    #: Name of the manifest in messages, such as its path on the client.
    source: str = "manifest"
    #: Overrides the name in the manifest.
    name: str | None = None
    #: Whose job it is; None: the coordinator decides.
    owner: Annotated[str | None, Field(json_schema_extra={"pattern": PATTERN})] = None
    #: Overrides `random_seed` in the manifest (set by `--reroll`).
    random_seed: Annotated[int, Field(ge=0)] | None = None
    #: Number of images in the plan; a different number is rejected. None to skip the check.
    expected: int | None = None
    #: Kept with the job, and shown beside what it took.
    estimate: EstimateView | None = None

    @field_validator("owner")
    @classmethod
    def _named(cls, given: str | None) -> str | None:
        return None if given is None else owner_name(given)


class MisfitView(Message):
    """Shots that fit no card of the farm, and why."""

    reason: str
    shots: int


class Submitted(Message):
    id: str
    name: str
    owner: str
    #: All shots of the manifest: `new` + `reused` + `unschedulable`.
    images: int
    new: int
    #: Already stored, or also wanted by another job.
    reused: int
    unschedulable: int
    misfits: tuple[MisfitView, ...] = ()
    random_seed: int


class BudgetView(Message):
    """Budget of a job, and its cost so far."""

    limit: float
    cost: float
    currency: str


class JobSummary(Message):
    """One line of GET /v1/jobs."""

    id: str
    name: str
    #: Jobs of equal priority take turns, first by owner.
    owner: str
    lane: str
    priority: int
    #: Set by the operator: `active`, `paused`, `cancelled`.
    intent: str
    #: Derived from intent and shots: `waiting`, `running`, `paused`, `cancelled`, `done`, `failed`,
    #: `unschedulable` (the remaining shots fit no node), `withheld` (the operator decides about images).
    status: str
    #: Why the farm paused it automatically.
    reason: str = ""
    submitted_at: float
    images: int
    #: Shots by state (`common.states`).
    counts: dict[str, int]
    #: None if the job has no limit.
    budget: BudgetView | None = None
    #: When its shots, attempts and events were removed (`retention.details_days`); None: they are kept.
    details_removed_at: float | None = None


class JobPage(Message):
    """GET /v1/jobs: pass `next` as `cursor` for the next page; None at the end.

    A page with a filter looks at 1,000 jobs at most, so it may be short, even empty, before the end.
    """

    jobs: tuple[JobSummary, ...]
    next: str | None = None


class Priority(Message):
    """POST /v1/jobs/{id}/priority."""

    #: Higher runs first.
    priority: Annotated[int, Field(ge=0, le=100)]


class FailureView(Message):
    """Failed, unschedulable or withheld shots of a job, and why."""

    #: `failed`, `unschedulable` if they fit no node of the farm, or `withheld`.
    state: str = "failed"
    kind: str
    #: The last message of a kind may summarise several rare ones.
    message: str
    shots: int


class JobProgress(JobSummary):
    """A job as it advances."""

    #: Average of the last minutes in which images were stored.
    images_per_minute: float
    #: Estimated seconds until the last image, including what is rendered before it for other jobs; None if
    #: unknown.
    eta_s: float | None
    cost: float
    currency: str


class JobView(JobProgress):
    """GET /v1/jobs/{id}."""

    #: Running shots by node name.
    running: dict[str, int]
    failures: tuple[FailureView, ...] = ()
    #: Of a cancelled job, shots that go on because other jobs want them too, by the ID of a job of its owner;
    #: under an empty ID those that only other owners want.
    shared: dict[str, int] = Field(default_factory=dict)
    #: None if it was submitted without one.
    estimate: EstimateView | None = None
    #: From its submission to its last image, without `paused_s`; None while shots are unfinished.
    took_s: float | None = None
    #: In which it was paused or cancelled, or was over before it was restarted.
    paused_s: float = 0.0
    #: Images rendered for it; the others were stored before, or rendered for other jobs.
    rendered: int = 0
    #: Axis to its values, by which its shots can be listed, at most 500 of each; the groups as `group`.
    axes: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class ExportView(Message):
    """A file of an image in one of the job's `output.sizes`."""

    #: Name of the export, for GET /v1/jobs/{id}/shots/{position}/exports/{export}.
    export: str
    #: Output path without extension.
    name: str
    #: In pixels.
    width: int
    height: int


class ExportedFile(Message):
    """GET /v1/jobs/{id}/shots/{position}/exports/{export}."""

    #: Presigned GET URL.
    url: str
    sha256: Sha256
    #: In bytes.
    size: int


class ImageView(Message):
    """One shot of a job, in manifest order."""

    #: Index in the job, starting at 0.
    position: int
    shot_id: Sha256
    #: Output path without extension; if the job has exports, `*` stands for the name of each.
    name: str
    #: Group in the manifest, and axis to value.
    group: str = ""
    axes: dict[str, str] = Field(default_factory=dict)
    state: str
    model: str
    prompt: str
    seed: int
    width: int
    height: int
    #: `png`, `webp` or `jpeg`.
    format: str
    #: Presigned GET URL of a stored image, and its key in the store.
    url: str | None = None
    key: str | None = None
    sha256: Sha256 | None = None
    size: int | None = None
    #: Of rendering and storing the image.
    cost: float | None = None
    #: Share of the image in what its batch cost besides: loading, and work that was lost. None while it runs.
    overhead: float | None = None
    #: Total of all phases of the stored attempt.
    seconds: float | None = None
    node: str | None = None
    #: Reason, for a failed, unschedulable or withheld shot.
    message: str = ""
    #: Its files in other sizes; empty if it is delivered as it was rendered.
    exports: tuple[ExportView, ...] = ()


class WithheldImage(Message):
    """An image that a classifier of its lane withheld."""

    shot_id: Sha256
    #: Which classifier marked it, and by how much; or why none could judge it.
    reason: str
    #: The job that it was rendered for, with its owner.
    job: str
    owner: str
    lane: str
    #: In the job, with the output path without extension; None and empty if the job removed it.
    position: int | None
    name: str
    model: str
    prompt: str
    node: str
    #: `png`, `webp` or `jpeg`.
    format: str
    #: Presigned GET URL, and its key in the store.
    url: str
    key: str
    sha256: Sha256
    size: int
    stored_at: float


class WithheldImages(Message):
    """GET /v1/withheld: images that operators alone see, the oldest first, at most 200."""

    images: tuple[WithheldImage, ...]


class ApprovedShot(Message):
    """POST /v1/shots/{id}/approve: the full ID of the shot whose image is shown now."""

    id: Sha256


class PictureOrigin(Message):
    """GET /v1/images/{sha256}/origin: whether, when and by what the farm made a picture."""

    #: `stored`: these bytes are an image of the farm. `export`: one of its exports. `deleted`: an image that
    #: was deleted since. `alike`: other bytes that show the same as an image, such as a copy that was saved
    #: again in another format or size. `named`: other bytes, whose metadata names a shot; anybody can write
    #: that.
    answer: Literal["stored", "export", "deleted", "alike", "named"]
    #: The shot, and what its image was made with.
    shot_id: Sha256
    model: str
    recipe: str
    node: str
    lane: str
    #: Seconds since 1970; `deleted_at` is None for an image that is stored.
    stored_at: float
    deleted_at: float | None

    @property
    def is_ours(self) -> bool:
        """Whether the farm made just these bytes."""
        return self.answer not in ("alike", "named")


class ShotPage(Message):
    """GET /v1/jobs/{id}/shots: pass `next` as `cursor` for the next page; None at the end.

    A page with a filter looks at 5,000 shots at most, so it may be short, even empty, before the end.
    """

    shots: tuple[ImageView, ...]
    next: str | None = None


#: Shots that one call can ask for.
MOST_SHOTS = 5000
#: How texts are embedded: text encoder to the dtype of its weights, and library to version.
Encoding = tuple[dict[str, str], dict[str, str]]


class ShotQuery(Message):
    """POST /v1/shots/stored."""

    ids: Annotated[tuple[Sha256, ...], Field(max_length=MOST_SHOTS)]
    #: Digests of the texts of shots (`common.embeddings.texts_key`).
    texts: Annotated[tuple[TextsKey, ...], Field(max_length=MOST_SHOTS)] = ()


class StoredShots(Message):
    """What is stored of the requested shots."""

    #: Those that have an image.
    ids: tuple[Sha256, ...]
    #: Those of the texts whose embeddings are stored, to how they were encoded; for keys with `read-all`.
    texts: dict[TextsKey, Encoding] = Field(default_factory=dict)


class AcceptedShot(Message):
    """POST /v1/shots/{id}/accept: the full ID of the accepted shot."""

    id: Sha256


#: Who removes an image; recorded with it.
Person = Annotated[str, Field(min_length=1, max_length=200)]


class Rejection(Message):
    """POST /v1/shots/{id}/reject: removes a stored image from the results of jobs."""

    by: Person = "operator"
    #: What to render in its place: nothing, the next seed that the job does not have, or the same seed again.
    redo: Literal["no", "next seed", "same seed"] = "no"


class RedoneShot(Message):
    """The shot that replaces a rejected image in a job."""

    job: str
    id: Sha256
    seed: int


class RejectedShot(Message):
    """Result of POST /v1/shots/{id}/reject."""

    #: The whole id of the shot.
    id: Sha256
    #: Jobs whose results no longer include the image.
    jobs: tuple[str, ...]
    #: Cost of the image, if no active job has it any more; otherwise 0.
    wasted: float
    currency: str
    redone: tuple[RedoneShot, ...] = ()


class Deletion(Message):
    """POST .../delete of shots, jobs and images, and /v1/nodes/{id}/discard-images."""

    by: Person = "operator"


class Deleted(Message):
    """Result of a deletion, in images."""

    images: int
    #: Images that stay stored because other active jobs have them.
    kept: int
    #: Images, of this call and earlier ones, that the store still has to delete; this happens by itself.
    pending: int = 0


class Pick(Message):
    """What a person said of one image of a job."""

    position: int
    shot_id: Sha256
    #: Output path without extension.
    name: str
    #: None: undecided.
    kept: bool | None = None
    #: From 1 to 5; 0: none.
    stars: int = 0


class PickWish(Message):
    """POST /v1/jobs/{id}/picks: keep or drop images, or give them stars; what is None stays as it is."""

    positions: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=1000)
    ]
    kept: Literal["yes", "no", "undecided"] | None = None
    stars: Annotated[int, Field(ge=0, le=5)] | None = None


class CostPerImage(Message):
    """What the images of a job cost, and those that were kept."""

    kept: int
    dropped: int
    #: All that the job cost, over the images that were rendered for it; None without any.
    cost_per_image: float | None
    #: The same over the kept images.
    cost_per_kept: float | None
    currency: str


class PickList(CostPerImage):
    """GET /v1/jobs/{id}/picks: the images that were kept, dropped or given stars, in manifest order."""

    picks: tuple[Pick, ...]


class CostRow(Message):
    model: str
    vram_class: int
    #: Stored images that were not rejected.
    images: int
    #: Failed attempts.
    failures: int
    #: Rejected images; `cost` includes their cost.
    rejected: int
    rejected_cost: float
    seconds_per_image: float | None
    cost: float
    cost_per_image: float | None


class CostTable(Message):
    """GET /v1/jobs/{id}/table: cost of all attempts of a job, including failed ones and model loading."""

    currency: str
    rows: tuple[CostRow, ...]


class SlowPathView(Message):
    """A model that a node renders at less than half the rate of its card."""

    model: str
    #: Share of the rate that is expected of its card.
    rate: float
    #: Other nodes with such a card that render the model faster.
    faster: int
    #: Likely reason, and what the owner of the node can do.
    reason: str
    remedy: str


class NodeView(Message):
    """One line of GET /v1/nodes."""

    id: str
    name: str
    owner: str
    lanes: tuple[str, ...]
    card: str
    #: Properties of the card, used by plans.
    facts: CardFacts
    terms: Terms
    #: `common.levels`: what its owner has earned, and in words what that means; empty for own nodes.
    level: Literal["probation", "proven", "trusted", "owned"] = "owned"
    standing: str = ""
    #: Whether its owner wants no work but that of lanes that promise SFW.
    sfw_only: bool = False
    #: Measured seconds per megapixel and forward pass, by model.
    speeds: dict[str, float] = Field(default_factory=dict)
    #: Measured seconds to load a model.
    loads: dict[str, float] = Field(default_factory=dict)
    #: Expected seconds to fetch a model, of those that it does not have yet.
    fetch_s: dict[str, float] = Field(default_factory=dict)
    #: Libraries that decide its embeddings, to their versions.
    versions: dict[str, str] = Field(default_factory=dict)
    #: Models that it renders much slower than expected.
    slow_paths: tuple[SlowPathView, ...] = ()
    #: Models that wait, and that it leaves to cards that need much less energy, while it has no batch.
    leaves: tuple[str, ...] = ()
    vram_class: int
    #: `common.states`.
    state: str
    reason: str = ""
    #: Who put the node into its state.
    decided_by: Literal["farm", "operator", "owner"] = "farm"
    #: Whether it is waiting for work in a claim.
    parked: bool = False
    batch_id: str | None = None
    loaded_model: str | None = None
    #: What it does before it renders, such as `fetching sdxl 40 %`.
    doing: str = ""
    models: tuple[str, ...] = ()
    #: Those of its models and LoRAs that it fetches when it gets work for them.
    fetches: tuple[str, ...] = ()
    #: Models and LoRAs that it put aside, and why.
    aside: dict[str, str] = Field(default_factory=dict)
    watts: float | None = None
    temperature_c: float | None = None
    seen_at: float


#: Who gives an order to a node.
Who = Literal["operator", "owner"]


class NodeWish(Message):
    """POST /v1/nodes/{id}/drain, pause, resume, quarantine, forgive, vouch, disavow."""

    #: Reason, shown by `farm nodes` and `farm explain`.
    reason: Annotated[str, Field(max_length=200)] = ""
    #: Who gives the order, on a farm without keys; with keys, the node key stands for the owner.
    by: Who = "operator"


class QueueView(Message):
    lane: str
    vram_class: int
    #: Waiting shots for which this is the smallest fitting class.
    waiting: int
    #: Tickets on the queue; None if the broker does not respond.
    tickets: int | None


class StatusView(Message):
    """GET /v1/status."""

    version: str
    currency: str
    started_at: float
    broker: Annotated[str, Field(description="`up`, or the error")]
    queues: tuple[QueueView, ...]
    nodes: tuple[NodeView, ...]
    #: Those with shots that wait or run, then the newest that wait for somebody: paused, or with shots that
    #: failed or fit no node. At most 200; GET /v1/jobs lists all, page by page.
    jobs: tuple[JobSummary, ...]
    #: Rendered and stored since the farm exists.
    images: int = 0
    #: Over the last minute.
    requests_per_minute: float
    tickets_per_minute: float
    misfits: tuple[MisfitView, ...] = ()


class Explanation(Message):
    """GET /v1/explain/{subject}: the state of a job, a shot or a node, and the reason for it."""

    #: Full ID or name.
    subject: str
    kind: Literal["job", "shot", "node"]
    #: State and obstacles, most important first; at least one.
    sentences: tuple[str, ...]
    #: What a person can do; empty if nothing needs to be done.
    remedy: str = ""


class WaitingLine(Message):
    """Images of one job that need the same of a card."""

    job_id: str
    images: int
    #: Smallest VRAM class that takes them, in GiB.
    min_class: int
    model: str
    loras: tuple[str, ...] = ()
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    #: Name, identity, factor, and TFLOP for a megapixel of the image that it enlarges.
    upscaler: tuple[str, str, int, float] | None = None
    #: How all their texts are embedded in the store.
    embedded: Encoding | None = None


class WaitingJob(Message):
    """A job whose images wait."""

    id: str
    owner: str
    lane: str
    priority: int
    submitted_at: float
    #: Seconds of work given to it, counted from where its rivals were when it came.
    service_s: float
    #: Whether cards that waste energy leave it to others; None: as the farm is set.
    eco: bool | None = None


class BatchInHand(Message):
    """What a node has yet to render of its batch."""

    node_id: str
    line: WaitingLine
    pass_size: int
    #: Since when the first of these images has been rendered; negative if it begins later.
    since_s: float
    #: Expected seconds per image.
    image_s: float


class BacklogView(Message):
    """GET /v1/backlog: what waits and runs, as the planner sees it."""

    jobs: tuple[WaitingJob, ...] = ()
    waiting: tuple[WaitingLine, ...] = ()
    running: tuple[BatchInHand, ...] = ()
    #: Owner to the seconds of work received lately.
    usage: dict[str, float] = Field(default_factory=dict)


class MemoryView(Message):
    """One line of GET /v1/memory: measurements by cards of one type for one model and size."""

    #: Name and VRAM class.
    card: str
    model: str
    recipe: str
    width: int
    height: int
    #: Simultaneous denoiser runs in the largest measured pass: its images, doubled by guidance.
    forwards: int | None = None
    #: Measured and predicted peak of this pass, in bytes.
    peak_bytes: int | None = None
    predicted_bytes: int | None = None
    #: Seconds per megapixel-forward that an idle node measured with one image, and those of an image of the
    #: model's usual settings.
    pace_s: float | None = None
    image_s: float | None = None
    #: Maximum images per pass after a larger one ran out of memory; 0: a single image did. None: no limit.
    most_images: int | None = None
    #: Of the shots that ran out of memory.
    guidance: float | None = None
    loras: tuple[str, ...] = ()


class ModelView(Message):
    """One model of GET /v1/models; OpenAI's API has `id`, `object`, `created` and `owned_by`, too."""

    name: str
    #: The same as `name`.
    id: str
    object: Literal["model"] = "model"
    #: Of the start of the coordinator: a catalog has no dates.
    created: int
    owned_by: Literal["farm"] = "farm"
    family: str
    identity: str | None
    license: str
    commercial: bool
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    #: Names of the nodes that have its files, or fetch them when they get work for it.
    nodes: tuple[str, ...] = ()


class ModelList(Message):
    """GET /v1/models: the models of the catalog, in the form of OpenAI's API."""

    object: Literal["list"] = "list"
    data: tuple[ModelView, ...]


class CatalogAddition(Message):
    """POST /v1/models: an entry for the catalog of a running farm."""

    section: Literal[
        "licenses", "families", "models", "loras", "textual_inversions", "upscalers", "classifiers"
    ]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    #: As in a catalog file; `like` copies an entry that the catalog has.
    entry: dict[str, Any]
    #: Identity of the model, LoRA or GGUF file to its bytes, for what the store holds.
    files: dict[str, int] = Field(default_factory=dict)

    def with_files_of(self, known: CatalogAddition | None) -> CatalogAddition:
        """With what the store holds of the entry that this one replaces, as far as this one names it too."""
        named = json.dumps(self.entry)
        before = known.files if known else {}
        kept = {identity: size for identity, size in before.items() if identity in named}
        return self.model_copy(update={"files": kept | self.files})


class CatalogVersion(Message):
    version: str
