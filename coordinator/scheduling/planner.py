"""The planner: which of the waiting work a node gets now, and how much of it.

Pure: the ledger hands in what waits and fits, and acts on the answer. The order is

1. the higher priority,
2. the owner who got the least work lately, then of that owner's jobs the one that got the least so far; where
   the node has a model of theirs loaded, both may be ahead by as much as a reload is worth avoiding,
3. within the job: what the fewest other nodes can take, then what is loaded; of that the longest first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

#: How many batches a job or owner may be ahead of another before a node drops its loaded model for that one.
AFFINITY_BATCHES = 5
#: Images of a batch, however fast a node says that it is: a lease is one message, and its end one commit.
MOST_IMAGES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """Shots of one job and work key that wait and that the claiming node can take."""

    job_id: str
    work_key: str
    #: Megapixel-forwards of each.
    amount: float
    owner: str
    priority: int
    #: Seconds of work given to the owner lately (`coordinator.scheduling.fairness`).
    owner_s: float
    #: Seconds of work given to the job so far.
    service_s: float
    #: When the job came: seconds since 1970.
    submitted_at: float
    images: int
    #: What one takes on this node; None until it was measured.
    image_s: float | None
    #: Images of one pass at the most.
    pass_size: int
    #: Whether the node holds model and LoRAs in memory.
    loaded: bool
    #: Nodes in service that can take them, this one included.
    takers: int
    #: What one takes here as far as anything tells, for what it will cost; None: nothing does.
    expected_s: float | None = None
    #: What loading the model takes first; 0 where it is loaded.
    load_s: float = 0.0

    @property
    def lot(self) -> tuple[str, str]:
        """What one batch is taken from."""
        return (self.job_id, self.work_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    option: Option
    images: int


def choose(options: Sequence[Option], *, batch_s: float) -> Selection | None:
    """The work to serve now and how many images of it; None without options.

    >>> small = Option(job_id="a", work_key="w", amount=1, owner="me", priority=50, owner_s=0, service_s=0,
    ...     submitted_at=0, images=9, image_s=10.0, pass_size=4, loaded=False, takers=2)
    >>> choose([small], batch_s=120).images
    4
    """
    if not options:
        return None
    owners = _alike(options, lambda option: (-option.priority, option.owner))
    theirs = min(owners, key=lambda some: _owner_rank(some, batch_s))
    job = min(_alike(theirs, lambda option: option.job_id), key=lambda some: _job_rank(some, batch_s))
    option = min(job, key=_work_rank)
    return Selection(option=option, images=_amount(option, options, batch_s))


def refusal(lane: str, reasons: Mapping[str, int]) -> str:
    """Why a node gets nothing: `reasons` counts the images that each sentence keeps from it."""
    if not reasons:
        return f"no work waits in lane {lane}"
    worst = max(reasons, key=lambda reason: reasons[reason])
    return f"{sum(reasons.values())} images wait in lane {lane}, none for this node: {worst}"


def _alike(options: Sequence[Option], key: Callable[[Option], Hashable]) -> list[list[Option]]:
    parts: dict[Hashable, list[Option]] = {}
    for option in options:
        parts.setdefault(key(option), []).append(option)
    return list(parts.values())


def _owner_rank(options: Sequence[Option], batch_s: float) -> tuple[float, float, float, str]:
    one = options[0]
    oldest = min(option.submitted_at for option in options)
    return (-one.priority, one.owner_s - _ahead(options, batch_s), oldest, one.owner)


def _job_rank(options: Sequence[Option], batch_s: float) -> tuple[float, float, str]:
    one = options[0]
    return (one.service_s - _ahead(options, batch_s), one.submitted_at, one.job_id)


def _ahead(options: Sequence[Option], batch_s: float) -> float:
    """Seconds that these may be ahead of others, so that a loaded model is kept."""
    return AFFINITY_BATCHES * batch_s if any(option.loaded for option in options) else 0.0


def _work_rank(option: Option) -> tuple[int, bool, float, str]:
    return (option.takers, not option.loaded, -option.amount, option.work_key)


def _amount(option: Option, options: Sequence[Option], batch_s: float) -> int:
    """Images worth `batch_s`, less towards the end so that all nodes finish together; whole passes."""
    most = min(option.images, MOST_IMAGES)
    if option.image_s is None or option.image_s == 0:
        # The first pass measures this node; a guess could be off by a factor of ten.
        return min(most, option.pass_size)
    left_s = sum(other.images * (other.image_s or option.image_s) for other in options)
    # Half a share leaves something to the faster nodes at the end; a node alone has nobody to leave it to.
    share_s = left_s / (2 * option.takers) if option.takers > 1 else inf
    images = min(batch_s, share_s) / option.image_s
    if images >= most:
        return most
    return min(most, max(1, int(images / option.pass_size)) * option.pass_size)
