"""Arguments and results of the ledger, besides the messages and views in `common`.

Durations are seconds, energies joules, sizes bytes, money is in the farm's currency, times are seconds
since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from common.allowance import Allowance
from common.exports import Export, JobExports
from common.key_messages import KeyView
from common.nodes import Terms
from common.shot import PlannedShot, Shot
from common.states import GONE, ShotState
from common.views import EstimateView
from common.work import Work
from coordinator.scheduling.member import Member
from coordinator.scheduling.slow_path import SlowPath


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchTexts:
    """What a leased batch says of its texts."""

    node_id: str
    model: str
    recipe: str
    #: Whether claims counted on their embeddings.
    counts: bool
    #: Of the node: package to version.
    versions: dict[str, str]
    shots: list[Shot]
    #: Whether what its node computes may enter images that others render.
    is_trusted: bool


class Act(NamedTuple):
    """What a caller of the API changes, for the audit log."""

    #: Name of the key, and its owner; empty for keys of the settings.
    by: str
    owner: str
    #: Such as `job cancel`.
    action: str
    #: Empty if it is known only afterwards.
    subject: str
    detail: str = ""

    @property
    def key(self) -> str | None:
        """The key whose quota counts; None for keys of the settings."""
        return self.by if self.owner else None


class Repeatable(NamedTuple):
    """A request that may be sent again with the same `Idempotency-Key`."""

    #: Name of the key with which it is sent.
    caller: str
    key: str
    #: SHA-256 of the request.
    digest: str


class JobName(NamedTuple):
    """What a job that was submitted is known by."""

    name: str
    owner: str
    random_seed: int


class Room(NamedTuple):
    """What the jobs of a key may still cost in the present period of its budget."""

    key: str
    limit: Allowance
    left: Decimal
    #: The first day of the next period, UTC, and the seconds until then.
    ends: date
    ends_s: float


class StoredKey(NamedTuple):
    """A key with what recognises it."""

    view: KeyView
    #: SHA-256 of the key, and of the one before its last rotation.
    digest: str
    old_digest: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A manifest to be submitted."""

    name: str
    owner: str
    lane: str
    #: 0 to 100; higher first.
    priority: int
    #: The manifest as submitted, with files inlined.
    manifest: str
    random_seed: int
    #: None: no limit.
    max_cost: float | None = None
    #: Whether cards that waste energy leave it to others; None: as the farm is set.
    eco: bool | None = None
    #: The files of its images.
    exports: JobExports = ()
    #: What its plan said; None: nothing.
    estimate: EstimateView | None = None
    #: Name of the key that submits it; None for a key of the settings. And how many images count for it.
    key: str | None = None
    ordered: int = 0
    #: The request that submits it, if it may be sent again.
    request: Repeatable | None = None


class PlacedShot(NamedTuple):
    """A shot with its work key and the smallest VRAM class that can render it."""

    planned: PlannedShot
    work: Work
    #: GiB; 0 if no class fits: the shot becomes unschedulable with `reason`.
    min_class: int
    reason: str = ""
    #: `common.embeddings.texts_key`.
    texts: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedJob:
    """Result of a submission: `images` = `new` + `reused` + `shared` + `unschedulable`."""

    job_id: str
    images: int
    new: int
    #: Already stored.
    reused: int
    #: Not stored yet, but already wanted by another job.
    shared: int
    unschedulable: int
    #: Number of shots that fit no class, by reason.
    misfits: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedNode:
    node_id: str
    incarnation: int
    vram_class: int
    lanes: tuple[str, ...]
    #: Those that it has as well, but whose prompts it may not see, with the reason.
    closed_lanes: Mapping[str, str] = field(default_factory=dict)
    owner: str
    terms: Terms


class BrokerAccount(NamedTuple):
    """What a node may take from the broker."""

    node_id: str
    lanes: tuple[str, ...]
    #: GiB.
    vram_class: int
    #: SHA-256 of its password.
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The response to a report, and the attempt to pass to ingest."""

    state: str
    repeated: bool
    #: Attempt of a delivered shot without a verdict; otherwise None.
    attempt_id: str | None


class JobFilter(NamedTuple):
    """Which jobs of an owner are meant; empty: all."""

    name: str | None = None
    statuses: Collection[str] = ()


class ShotFilter(NamedTuple):
    """Which shots of a job are meant; empty: all."""

    states: tuple[ShotState, ...] = ()
    #: Axis and value; all of them hold. The group is the axis `group`.
    axes: tuple[tuple[str, str], ...] = ()
    #: Part of the prompt, in any case.
    text: str = ""
    #: Name of the node that rendered the image.
    node: str = ""


class MadeImage(NamedTuple):
    """An image that the farm made, stored or deleted."""

    shot_id: str
    key: str
    model: str
    recipe: str
    node_id: str
    lane: str
    stored_at: float
    #: None: it is stored.
    deleted_at: float | None


class StoredImage(NamedTuple):
    """A stored image, and the export of it that a job wants."""

    key: str
    sha256: str
    size: int
    shot: Shot
    #: The prompt as written, and the recipe, for its metadata.
    template: str
    recipe: str
    export: Export


class Unanswered(NamedTuple):
    """A delivered attempt that ingest started too often without a verdict."""

    attempt_id: str
    shot_id: str
    #: Key of the image in the store.
    key: str


class Doomed(NamedTuple):
    """A deleted image whose bytes may still be in the store."""

    key: str
    #: Quarantine keys of its uploads.
    uploads: tuple[str, ...]


class Stuck(NamedTuple):
    """A row that a sweep left unchanged because it has no valid transition; this indicates a defect."""

    #: Such as `batch b-12`.
    name: str
    #: The node or shot to pass to `farm explain`.
    subject: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """Results of one sweep."""

    #: Batches whose lease expired.
    expired: tuple[str, ...]
    #: Nodes without a heartbeat for the duration of a lease.
    lost: tuple[str, ...]
    #: Delivered attempts for which ingest must be notified again.
    ingest_again: tuple[str, ...]
    unanswered: tuple[Unanswered, ...]
    stuck: tuple[Stuck, ...]
    #: Whether an incident has ended and the nodes blamed during it are forgiven.
    incident_over: bool = False


class WorkLabels(NamedTuple):
    """Labels of a metric about work."""

    model: str
    lane: str
    vram_class: int


class NodeReading(NamedTuple):
    """A node and what it said last, as far as metrics tell it: they are read often."""

    node: Member
    owner: str
    seen_at: float
    #: None: not measured.
    watts: float | None
    temperature_c: float | None


class FleetReadings(NamedTuple):
    #: All nodes that joined and were not forgotten.
    nodes: list[NodeReading]
    #: By node and model.
    slow: dict[str, dict[str, SlowPath]]

    @property
    def present(self) -> list[NodeReading]:
        """Those that still call."""
        return [one for one in self.nodes if one.node.state not in GONE]


class StageTime(NamedTuple):
    """How long a stage took; of `times` images alike."""

    #: `wait`, `load`, `encode`, `denoise`, `decode`, `upload`, `ingest`; `denoise` is per megapixel-step.
    stage: str
    vram_class: int
    seconds: float
    times: int = 1


@dataclass(kw_only=True, slots=True)
class Totals:
    """Sums over everything that the ledger ever recorded, and a few numbers about the present.

    The sums never decrease, even across restarts.

    One exception: if a node rejoins with a card of another class, its idle time moves to that class.
    The total cost of the farm is the sum of `cost`; electricity of volunteers is only in `volunteer_cost`.
    """

    #: Labels of all batches that were ever leased.
    known: set[WorkLabels] = field(default_factory=set)
    #: Attempts by (labels, outcome): `stored`, `wasted`, `rejected`, `failed`, `cancelled`, `released`.
    attempts: dict[tuple[WorkLabels, str], int] = field(default_factory=dict)
    #: Attempts by kind of failure; empty for attempts without one.
    failures: dict[str, int] = field(default_factory=dict)
    #: Seconds by (labels, phase): the phases of `Spent`, `ingest`, and `lost` (not reported for an attempt).
    seconds: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: Joules by (labels, energy method).
    joules: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: Cost by (labels, kind): `render`, `load`, `lost`, `duplicate`, `storage`.
    cost: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: Electricity in it, by labels.
    electricity: dict[WorkLabels, float] = field(default_factory=dict)
    #: Seconds and cost by (labels, use), as in `schema.monthly_charges`.
    use_seconds: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    use_cost: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: Ended batches by (labels, outcome).
    batches: dict[tuple[WorkLabels, str], int] = field(default_factory=dict)
    #: Electricity paid by volunteers, by (labels, kind).
    volunteer_cost: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: Number and cost, by labels, of stored images that every job that had them has rejected.
    rejected_images: dict[WorkLabels, int] = field(default_factory=dict)
    rejected_cost: dict[WorkLabels, float] = field(default_factory=dict)
    #: Cost of the jobs of each owner, of whom work waits or who had some, and images rendered for them.
    owner_cost: dict[str, float] = field(default_factory=dict)
    owner_images: dict[str, int] = field(default_factory=dict)
    #: Pipeline loads by labels.
    loads: dict[WorkLabels, int] = field(default_factory=dict)
    #: Seconds, joules and cost of idle nodes, by class.
    idle_seconds: dict[int, float] = field(default_factory=dict)
    idle_joules: dict[int, float] = field(default_factory=dict)
    idle_cost: dict[int, float] = field(default_factory=dict)
    idle_electricity: dict[int, float] = field(default_factory=dict)
    #: Waiting shots by (lane, smallest fitting class), counted once per open job that wants them.
    waiting: dict[tuple[str, int], int] = field(default_factory=dict)
    #: Time of the oldest submission with waiting shots, by the same keys; seconds since 1970.
    oldest_waiting: dict[tuple[str, int], float] = field(default_factory=dict)
    #: Running shots by (lane, class).
    running: dict[tuple[str, int], int] = field(default_factory=dict)
    #: Uploads that ingest has not judged yet.
    delivered: int = 0
    #: Share of its budget that each key has used in the present period.
    budgets: dict[str, float] = field(default_factory=dict)
    #: Nodes by (class, state).
    nodes: dict[tuple[int, str], int] = field(default_factory=dict)
