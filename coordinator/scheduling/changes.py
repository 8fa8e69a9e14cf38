"""Changes: what a commit returns, so that the backlog in memory follows the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from common.fit import Peak
from common.levels import OwnerStanding
from common.states import NodeState
from coordinator.scheduling.member import Member
from coordinator.scheduling.running import RunningBatch
from coordinator.scheduling.slow_path import RenderedImage
from coordinator.scheduling.work import Amounts, OpenJob, Size, WorkSample


class ShotsWaiting(NamedTuple):
    """Shots began to wait; their work keys may be new."""

    lines: Amounts
    samples: dict[str, WorkSample]
    brings_work: bool = True


class ShotsTaken(NamedTuple):
    """Shots ceased to wait."""

    lines: Amounts


class JobOpened(NamedTuple):
    """A job takes part, with nothing that waits yet."""

    job_id: str
    job: OpenJob


class JobClosed(NamedTuple):
    job_id: str


class JobPrioritised(NamedTuple):
    job_id: str
    priority: int


class JobCharged(NamedTuple):
    job_id: str
    #: In the farm's currency.
    cost: float


class BatchLeased(NamedTuple):
    """A batch was given to a job and its owner, at its estimates."""

    node_id: str
    batch: RunningBatch
    seconds: float
    #: Seconds since 1970.
    at: float
    cost: float


class BatchFound(NamedTuple):
    """A batch was leased before the backlog was filled."""

    node_id: str
    batch: RunningBatch


class BatchAdvanced(NamedTuple):
    """Images of a batch were reported."""

    node_id: str
    batch_id: str
    images: int
    #: Seconds since 1970.
    at: float
    #: Those in which the card worked on these images.
    seconds: float = 0.0


class BatchTrimmed(NamedTuple):
    """Images of a batch were taken back, with what was counted and reserved for them."""

    node_id: str
    batch_id: str
    images: int
    cost: float


class BatchEnded(NamedTuple):
    """A batch ended after so many seconds of a card; what was reserved for it is free."""

    batch_id: str
    job_id: str
    node_id: str
    seconds: float
    #: Where the job has a budget, the rest of the reservation may be enough for another node.
    brings_work: bool


class OwnerServed(NamedTuple):
    """An owner had seconds of work, at a time in seconds since 1970; of a batch that is still in hand."""

    owner: str
    seconds: float
    at: float
    in_hand: str | None = None


class StandingChanged(NamedTuple):
    """What an owner of volunteers' nodes has earned."""

    owner: str
    standing: OwnerStanding


class NodesChanged(NamedTuple):
    nodes: dict[str, Member]


class NodeMoved(NamedTuple):
    """A known node changed its state, and nothing else."""

    node_id: str
    state: NodeState


class SpeedMeasured(NamedTuple):
    """The seconds that a megapixel-forward of a model takes a known node on average."""

    node_id: str
    model: str
    seconds: float


class LoadMeasured(NamedTuple):
    """The seconds that loading a model takes a known node on average."""

    node_id: str
    model: str
    seconds: float


class ImageRendered(NamedTuple):
    """A node rendered an image that estimates can be compared with."""

    node_id: str
    model: str
    rendering: RenderedImage


class ImageTimed(NamedTuple):
    """What an image took in a pass of a known size."""

    node_id: str
    size: Size
    #: Simultaneous denoiser runs of the pass.
    forwards: int
    #: Seconds per megapixel-forward, without the encoding of its text.
    seconds: float


class PassLimited(NamedTuple):
    """Cards of a type take at most so many images of a work key in one pass."""

    card_type: str
    work_key: str
    recipe: str
    images: int


class PassMeasured(NamedTuple):
    card_type: str
    size: Size
    recipe: str
    peak: Peak


class RecipeTimed(NamedTuple):
    """Cards of a type were measured to take so many seconds for a megapixel-forward by a recipe."""

    card_type: str
    model: str
    recipe: str
    seconds: float


class LimitsLifted(NamedTuple):
    """Ceilings are forgotten, by card type, work key and recipe."""

    limits: Sequence[tuple[str, str, str]]


class CatalogChanged(NamedTuple):
    """The catalog by which cards are placed is another one."""


#: What a commit changes.
Change = (
    ShotsWaiting
    | ShotsTaken
    | JobOpened
    | JobClosed
    | JobPrioritised
    | JobCharged
    | BatchLeased
    | BatchFound
    | BatchAdvanced
    | BatchTrimmed
    | BatchEnded
    | OwnerServed
    | StandingChanged
    | NodesChanged
    | NodeMoved
    | SpeedMeasured
    | LoadMeasured
    | ImageRendered
    | ImageTimed
    | PassLimited
    | PassMeasured
    | RecipeTimed
    | LimitsLifted
    | CatalogChanged
)


def brings_work(change: Change) -> bool:
    """Whether a node that waits may get work by it."""
    match change:
        case ShotsWaiting() | BatchEnded():
            return change.brings_work
        case (
            StandingChanged()
            | JobOpened()
            | JobPrioritised()
            | PassLimited()
            | LimitsLifted()
            | CatalogChanged()
        ):
            return True
        case _:
            return False
