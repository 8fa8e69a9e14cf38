"""What the ledger is given and gives back, besides the messages and views of `common`.

Durations are seconds, energies joules, sizes bytes, money is in the farm's currency, times are seconds
since 1970 (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from common.shot import PlannedShot
from common.work import Work


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A manifest on its way into the ledger."""

    name: str
    owner: str
    lane: str
    #: 0-100, larger first.
    priority: int
    #: The manifest as sent, files inlined.
    manifest: str
    random_seed: int
    #: None: no limit.
    max_cost: float | None = None


class PlacedShot(NamedTuple):
    """A shot with its work and the smallest VRAM class that can take it."""

    planned: PlannedShot
    work: Work
    #: GiB; 0 where no class fits: the shot becomes unschedulable for `reason`.
    min_class: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedJob:
    """What became of a submission: `images` = `new` + `reused` + `shared` + `unschedulable`."""

    job_id: str
    images: int
    new: int
    #: Stored already.
    reused: int
    #: Not stored yet, and wanted by another job before.
    shared: int
    unschedulable: int
    #: Sentence to number of shots that no class takes.
    misfits: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedNode:
    node_id: str
    incarnation: int
    vram_class: int
    lanes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The answer to a report, and the attempt to hand to ingest."""

    state: str
    repeated: bool
    #: Of a delivered shot that still waits for ingest; None otherwise.
    attempt_id: str | None


class Unanswered(NamedTuple):
    """A delivered attempt that ingest began too often and never answered for."""

    attempt_id: str
    shot_id: str
    #: Of the shot's image in the store.
    key: str


class Doomed(NamedTuple):
    """A deleted picture whose bytes the store may have yet."""

    key: str
    #: Keys in quarantine of what nodes uploaded for it.
    uploads: tuple[str, ...]


class Stuck(NamedTuple):
    """What a sweep could not move and left as it was: a defect, since no event brings that about."""

    #: Such as `batch b-12`.
    name: str
    #: The node or shot that `farm explain` tells of.
    subject: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What one sweep found."""

    #: Batches whose lease ran out.
    expired: tuple[str, ...]
    #: Nodes not heard of for a lease's length.
    lost: tuple[str, ...]
    #: Attempts delivered a while ago that ingest must be asked for again.
    ingest_again: tuple[str, ...]
    unanswered: tuple[Unanswered, ...]
    stuck: tuple[Stuck, ...]
    #: Whether an incident is over, and the nodes that were blamed in it are forgiven.
    incident_over: bool = False


class WorkLabels(NamedTuple):
    """Labels of a metric about work."""

    model: str
    lane: str
    vram_class: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Sums over everything the ledger ever recorded; they only grow, also across restarts.

    One exception: where a node comes back with a card of another class, its idle time goes with it.
    The farm's bill is the sum of `cost`; a volunteer's electricity is in `volunteer_cost` alone.
    """

    #: (labels, outcome) to attempts: `stored`, `wasted`, `rejected`, `failed`, `released`.
    attempts: dict[tuple[WorkLabels, str], int] = field(default_factory=dict)
    #: Kind of failure to attempts that ended with it; the empty kind: attempts that ended without one.
    failures: dict[str, int] = field(default_factory=dict)
    #: (labels, phase) to seconds; phases of `Spent`, `ingest`, and `lost` (never reported).
    seconds: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: (labels, energy method) to joules.
    joules: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: (labels, kind) to money: `render`, `load`, `lost`.
    cost: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: (labels, kind) to money that volunteers paid.
    volunteer_cost: dict[tuple[WorkLabels, str], float] = field(default_factory=dict)
    #: Labels to stored pictures that every job rejected which had them, and to what these had cost.
    rejected_images: dict[WorkLabels, int] = field(default_factory=dict)
    rejected_cost: dict[WorkLabels, float] = field(default_factory=dict)
    #: Labels to pipeline loads.
    loads: dict[WorkLabels, int] = field(default_factory=dict)
    #: Class to seconds, joules and money of nodes without a lease.
    idle_seconds: dict[int, float] = field(default_factory=dict)
    idle_joules: dict[int, float] = field(default_factory=dict)
    idle_cost: dict[int, float] = field(default_factory=dict)
    #: (lane, smallest fitting class) to shots that wait, once for each open job that wants them.
    waiting: dict[tuple[str, int], int] = field(default_factory=dict)
    #: The same to the submission that has waited longest, in seconds since 1970.
    oldest_waiting: dict[tuple[str, int], float] = field(default_factory=dict)
    #: (lane, class) to shots in a batch.
    running: dict[tuple[str, int], int] = field(default_factory=dict)
    #: (class, state) to nodes.
    nodes: dict[tuple[int, str], int] = field(default_factory=dict)
