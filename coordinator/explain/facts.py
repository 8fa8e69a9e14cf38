"""Facts for explanations. Durations are in seconds, classes in GiB, money in the currency of the farm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from common.shot import Shot
from common.states import NodeState, ShotState
from common.views import FailureView, MemoryView, SlowPathView


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """A node, as used by every explanation."""

    name: str
    state: NodeState
    #: Why it is in its state.
    reason: str = ""
    #: Whether it may take work now.
    in_service: bool
    #: Whether its owner set its state, in which case the operator cannot change it.
    by_owner: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    limit: float
    cost: float
    #: Estimated cost of active batches.
    reserved: float
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFacts:
    """A job, as used by the explanation of its shots."""

    id: str
    name: str
    owner: str
    lane: str
    priority: int
    #: Intent of the user: active, paused, cancelled.
    intent: str = "active"
    #: Whether all of its shots have been submitted.
    whole: bool = True
    #: Why it was paused automatically.
    reason: str = ""
    budget: Budget | None = None


#: The job and work key from which a batch is taken.
Lot = tuple[str, str]


class First(NamedTuple):
    """The work that the planner assigns to a node first from a lane.

    Of the work of others, somebody who may read own jobs only learns neither owner nor job (`""`).
    """

    owner: str
    priority: int
    lot: Lot
    #: Whether the node has its model loaded.
    loaded: bool

    @property
    def job_id(self) -> str:
        return self.lot[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateNode:
    """A node in the lane of the job that may take waiting shots."""

    node: NodeFacts
    #: Why its files or card do not allow it; empty if they do.
    lack: str = ""
    #: Whether the remaining budget of the job is too small for another image besides active work.
    over_budget: bool = False
    #: Whether the shot failed on this node and other nodes are preferred, and seconds until it may retry.
    failed: bool = False
    rest_s: float = 0.0
    #: None if the planner was not run.
    first: First | None = None
    #: Whether other nodes will finish the shots before this node could finish one.
    late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Waiting shots of one job with the same work key."""

    job: JobFacts
    lot: Lot = ("", "")
    #: Required model and LoRAs, such as `model sdxl with LoRA ink`.
    needs: str = ""
    #: Smallest class that can render them.
    vram_class: int = 0
    candidates: tuple[CandidateNode, ...] = ()
    #: Number of deaths of an engine, node or ingest in which the shot was involved.
    crashes: int = 0
    #: Maximum seconds for which shots rest on nodes where they failed; None if one has not failed.
    failed_rest_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hand:
    """The active batch of a node."""

    node: str
    batch_id: str
    job_id: str
    shots: int
    since_s: float
    #: The batch whose shots it renders as well.
    duplicates: str | None = None


class Check(NamedTuple):
    """The check of delivered images by ingest."""

    #: Seconds since the first delivery, and between two notifications of ingest.
    waited_s: float
    again_s: float
    #: Why ingest postponed the check; empty if it did not.
    trouble: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOrigin:
    """Where the image of a shot is, and how it was made."""

    shot: Shot
    key: str
    node: str
    recipe: str
    #: Seconds by phase.
    seconds: Mapping[str, float]
    joules: float
    #: `measured`, `declared` or `estimated`.
    energy_method: str
    cost: float
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotSubject:
    id: str
    #: Output name in the first job that wants it.
    name: str
    state: ShotState
    #: IDs of the live jobs that want it.
    jobs: tuple[str, ...] = ()
    #: While it waits: one entry per job.
    waits: tuple[Waiting, ...] = ()
    #: While it runs or its image is being checked.
    hand: Hand | None = None
    check: Check | None = None
    image: ImageOrigin | None = None
    #: Kind and message of its last failure, or why it fits no class.
    failure: str = ""
    reason: str = ""
    #: Failed attempts, and the nodes on which they failed.
    attempts: int = 0
    failed_on: tuple[str, ...] = ()
    #: Whether all of these jobs accepted it as permanently missing.
    accepted: bool = False
    #: Who last deleted its image, if no job has wanted it since.
    deleted_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSubject:
    job: JobFacts
    #: Status as shown by `farm jobs`.
    status: str
    images: int
    #: Shots by state.
    counts: Mapping[str, int]
    #: Running shots by node.
    running: Mapping[str, int] = field(default_factory=dict)
    #: The check of delivered images.
    check: Check | None = None
    #: Waiting shots, with their number.
    waits: tuple[tuple[Waiting, int], ...] = ()
    #: Number of suspects: waiting shots that are rendered last and alone after a crash.
    suspects: int = 0
    #: Number of shots that wait for another attempt after a failure.
    retries: int = 0
    #: Failures of failed and unschedulable shots.
    failures: tuple[FailureView, ...] = ()
    #: ID and output name of the first failed shots.
    failed: tuple[tuple[str, str], ...] = ()
    #: What retention has removed of it, when, and what to do; empty: nothing.
    removed: str = ""


class NodeRefusal(NamedTuple):
    """Why a node cannot take some images."""

    sentence: str
    images: int
    #: What the owner of the node can do; empty if no change of the node helps.
    remedy: str
    #: Whether it could, but others do it better.
    leaves: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneWork:
    """Waiting work in a lane of a node, as evaluated by the planner for this node."""

    lane: str
    #: The work that the node gets first, and its number of images; None if there is none.
    first: First | None
    images: int = 0
    refusals: tuple[NodeRefusal, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSubject:
    node: NodeFacts
    vram_class: int
    #: Versions of the node and of the farm; empty if unknown.
    version: str = ""
    farm_version: str = ""
    hand: Hand | None = None
    lanes: tuple[LaneWork, ...] = ()
    #: Waiting images in lanes that it does not serve.
    other_lanes: Mapping[str, int] = field(default_factory=dict)
    #: Those of them whose prompts it may not see, with the reason.
    closed_lanes: Mapping[str, str] = field(default_factory=dict)
    #: Memory measurements of cards of its type.
    memory: tuple[MemoryView, ...] = ()
    #: Models that it renders much slower than expected.
    slow_paths: tuple[SlowPathView, ...] = ()
