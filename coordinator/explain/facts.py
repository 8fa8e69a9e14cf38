"""What explanations are made from. Durations are seconds, classes GiB, money is in the farm's currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from common.states import NodeState, ShotState
from common.views import FailureView, MemoryView


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """A node as every explanation sees it."""

    name: str
    state: NodeState
    #: Why it is in its state.
    reason: str = ""
    #: Whether it is counted on for work now.
    in_service: bool
    #: Whether its owner put it into its state: the operator cannot bring it back then.
    by_owner: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    limit: float
    cost: float
    #: What the work in hand will cost, as estimated when it was leased.
    reserved: float
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFacts:
    """A job as its shots see it."""

    id: str
    name: str
    owner: str = ""
    lane: str
    priority: int
    #: What the operator wants: active, paused, cancelled.
    intent: str = "active"
    #: Whether all of its shots have been submitted.
    whole: bool = True
    #: Why the farm itself paused it.
    reason: str = ""
    budget: Budget | None = None


#: What one batch is taken from: job and work key.
Lot = tuple[str, str]


class First(NamedTuple):
    """What the planner gives a node first of a lane's work."""

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
    """A node of the job's lane, as one that may take shots that wait."""

    node: NodeFacts
    #: Why its files or its card do not allow it; empty: they do.
    lack: str = ""
    #: Whether the job's budget has no room for another image besides what is in hand.
    over_budget: bool = False
    #: Whether other nodes should try the shot first, which failed on it, and seconds until it may again.
    failed: bool = False
    rest_s: float = 0.0
    #: None where the planner was not asked.
    first: First | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Shots that wait for one job, alike for the planner."""

    job: JobFacts
    lot: Lot = ("", "")
    #: What they are rendered with: `model sdxl with LoRA ink`.
    needs: str = ""
    #: Smallest class that takes them.
    vram_class: int = 0
    candidates: tuple[CandidateNode, ...] = ()
    #: Times that an engine, a node or ingest died with the shot.
    crashes: int = 0
    #: Seconds at most for which shots that have all failed rest where they did; None: one of them has not.
    failed_rest_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hand:
    """The batch in which a node holds shots."""

    node: str
    batch_id: str
    job_id: str
    shots: int
    since_s: float


class Check(NamedTuple):
    """Ingest's look at pictures that were delivered."""

    #: Seconds since the first of them came, and between two times that ingest is asked.
    waited_s: float
    again_s: float
    #: Why ingest put it off; empty: it did not.
    trouble: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotSubject:
    id: str
    #: Its output name in the first job that wants it.
    name: str
    state: ShotState
    #: Ids of the jobs that are not cancelled and want it.
    jobs: tuple[str, ...] = ()
    #: While it waits: one for each of these jobs.
    waits: tuple[Waiting, ...] = ()
    #: While it runs, or its picture is checked.
    hand: Hand | None = None
    check: Check | None = None
    #: Kind and sentence of its last failure, or why it fits nothing.
    failure: str = ""
    reason: str = ""
    #: Its own failures, and the nodes on which they happened.
    attempts: int = 0
    failed_on: tuple[str, ...] = ()
    #: Whether each of these jobs is done without it.
    accepted: bool = False
    #: Who deleted its picture last, where no job has wanted it since.
    deleted_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSubject:
    job: JobFacts
    #: As `farm jobs` shows it.
    status: str
    images: int
    #: Shots by state.
    counts: Mapping[str, int]
    #: Shots in hand, by node.
    running: Mapping[str, int] = field(default_factory=dict)
    #: Of delivered pictures.
    check: Check | None = None
    #: What waits, and how many of it.
    waits: tuple[tuple[Waiting, int], ...] = ()
    #: Shots that wait after an engine, a node or ingest died with them: they are rendered last, and alone.
    suspects: int = 0
    #: Shots that wait for another attempt after a failure of their own.
    retries: int = 0
    #: Of failed and unschedulable shots.
    failures: tuple[FailureView, ...] = ()
    #: Id and output name of the first that failed.
    failed: tuple[tuple[str, str], ...] = ()
    #: What retention has removed of it, when, and what to do; empty: nothing.
    removed: str = ""


class NodeRefusal(NamedTuple):
    """What keeps images from a node."""

    sentence: str
    images: int
    #: What the node's owner can do about it; empty where nothing on the node changes it.
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneWork:
    """What waits in one of a node's lanes, as the planner sees it for this node now."""

    lane: str
    #: The job it is served from, and how many of its images; None: nothing for this node.
    first: First | None
    images: int = 0
    refusals: tuple[NodeRefusal, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSubject:
    node: NodeFacts
    vram_class: int
    #: Version of the farm's program on the node, and here; empty where it was not told.
    version: str = ""
    farm_version: str = ""
    hand: Hand | None = None
    lanes: tuple[LaneWork, ...] = ()
    #: Lanes that it does not serve to images that wait in them.
    other_lanes: Mapping[str, int] = field(default_factory=dict)
    #: What cards of its type have shown about memory.
    memory: tuple[MemoryView, ...] = ()
