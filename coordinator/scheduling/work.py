"""Work as the scheduler sees it: jobs that take part, and kinds of their waiting shots."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from common.embeddings import Embedded
from common.shot import Shot


class Line(NamedTuple):
    """Shots that one job waits for, alike for a planner."""

    job_id: str
    work_key: str
    #: GiB.
    min_class: int

    @property
    def lot(self) -> Lot:
        return (self.job_id, self.work_key)


#: What a batch is taken from: job and work key, so that its cost is known before it is claimed.
Lot = tuple[str, str]
#: Images by line.
Amounts = dict[Line, int]
#: Owner, lane and priority: only jobs of one owner are ranked by the service that each has had.
Rivals = tuple[str, str, int]


class WorkSample(NamedTuple):
    """What the shots of a work key share, and one of them."""

    model: str
    loras: tuple[str, ...]
    #: Megapixel-forwards of each, and the forwards of it that share the card.
    amount: float
    forwards: int
    shot: Shot
    #: How all their texts are embedded in the store; None: some are not.
    embedded: Embedded | None = None

    @property
    def loads(self) -> Loaded:
        """What a node has loaded when it renders them."""
        return self.model, frozenset(self.loras)

    @property
    def size(self) -> Size:
        return self.model, self.shot.width, self.shot.height


#: Share of the time of cards for a job that duplicates may be expected to take. At most 5 % are accepted; the
#: rest is for those that take longer than expected.
_DUPLICATES = 1 / 25
#: Model and LoRAs in the memory of a node.
Loaded = tuple[str | None, frozenset[str]]
#: Model, width and height.
Size = tuple[str, int, int]


@dataclass(slots=True)
class OpenJob:
    """A job whose shots may be claimed for it."""

    owner: str
    lane: str
    priority: int
    #: Order of submission.
    submitted_at: float
    max_cost: float | None
    #: In the farm's currency, so far; of a job with a limit.
    cost: float
    #: Active batch to its estimated cost.
    reserved: dict[str, float]
    #: Seconds of work given to it, counted from where its rivals were when it came.
    service_s: float = 0.0
    #: Whether cards that waste energy leave it to others; None: as the farm is set.
    eco: bool | None = None
    #: Owner of the nodes whose images it renders again, which these must not do themselves.
    verifies: str | None = None
    #: Seconds of work given to it since it took part; those that duplicates took; and active batch that is a
    #: duplicate to what it is expected to take.
    worked_s: float = 0.0
    duplicate_s: float = 0.0
    duplicates: dict[str, float] = field(default_factory=dict)

    @property
    def for_duplicates_s(self) -> float:
        """Seconds of cards that further duplicates may take."""
        return _DUPLICATES * self.worked_s - self.duplicate_s - sum(self.duplicates.values())

    @property
    def room(self) -> float:
        """What its budget leaves besides what is in hand."""
        return inf if self.max_cost is None else self.max_cost - self.cost - sum(self.reserved.values())

    @property
    def rivals(self) -> Rivals:
        """What jobs that take turns have in common."""
        return self.owner, self.lane, self.priority
