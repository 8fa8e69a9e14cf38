"""The planner: which waiting work a node gets, and how much of it.

Pure: the ledger passes the waiting work that fits, and acts on the choice. Criteria, in order:

1. the higher priority,
2. the owner who received the least work recently, then the job of that owner that received the least so far;
   if the node has loaded one of their models, both may be ahead by `AFFINITY_BATCHES`, to avoid a reload,
3. within the job: the model to which nodes of this kind should give the most time, the loaded one first; then
   work that the fewest other nodes can take, work with loaded model and LoRAs, longest first.

No work that is left to cards which need much less energy for it, none that the node could not finish before
the common end of its job and the work beside it, and work that would delay its job only if there is no other
(`coordinator.scheduling.horizon`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from coordinator.estimate.passes import PASS_S, images_in_time
from coordinator.scheduling.horizon import Outlook

#: Batches by which a job or owner may be ahead of another before a node replaces its loaded model.
AFFINITY_BATCHES = 5
#: Share of a batch by which an image may end later than its job: estimates are not more precise.
_SLACK = 1 / 60
#: Share of the time until the end of a job that a batch takes near the end, and of a batch that it takes at
#: least: the lower, the better nodes finish together, and the more often they change batches. Batches that it
#: takes as long as the end is far: each costs a claim and preparations, and trims keep the choice open.
_REST, _SHORTEST, _LONGEST, _LONGEST_SHARED = 0.85, 1 / 4, 4, 2
#: Seconds of a pass while other jobs are open, whose turn waits for its end, or the end of its own job is
#: near; and the share of the time until that end otherwise.
_SHORT_PASS_S, _PASS_REST = 50.0, 0.4
#: Passes that are worth a claim although their job is short.
_FEW_PASSES = 2
#: Share of an image's time that nodes of a kind must still have for a model to be preferred.
_LEAST_SHARE = 0.5
#: Maximum images of a batch, regardless of speed: a lease is one message, and its end one commit.
MOST_IMAGES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """Waiting shots of one job and work key that the claiming node can take."""

    job_id: str
    work_key: str
    model: str
    #: Megapixel-forwards per image.
    amount: float
    owner: str
    priority: int
    #: Seconds of work that the owner received recently (`coordinator.scheduling.fairness`).
    owner_s: float
    #: Seconds of work that the job has received so far.
    service_s: float
    #: Time of submission, in seconds since 1970.
    submitted_at: float
    images: int
    #: Measured seconds per image on this node; None without a measurement.
    image_s: float | None
    #: Images of one pass at the most: those that fit and are worth it.
    pass_size: int
    #: Whether anything waits or is rendered for other jobs.
    shared: bool
    #: Whether the node has model and LoRAs loaded.
    loaded: bool
    #: Whether it has the model loaded, with whatever LoRAs.
    model_loaded: bool
    #: Number of nodes in service that can take them, including this one.
    takers: int
    #: Expected bytes per image in the store, for the cost estimate.
    stored_bytes: int = 0
    #: Expected seconds per image on this node, for the cost estimate; None if unknown.
    expected_s: float | None = None
    #: Seconds to fetch and load the model; 0 if it is loaded.
    load_s: float = 0.0
    #: Those in which the node only fetches it, while its card does nothing for the job.
    fetch_s: float = 0.0

    @property
    def lot(self) -> tuple[str, str]:
        """The job and work key from which a batch is taken."""
        return (self.job_id, self.work_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    option: Option
    images: int
    #: Images of each pass.
    pass_size: int


#: Without a horizon no job has an expected end.
NO_OUTLOOK = Outlook(0.0)


def wastes(option: Option, outlook: Outlook) -> bool:
    """Whether the node leaves it to cards that need much less energy."""
    return outlook.wastes(option.job_id, option.model)


def is_late(option: Option, outlook: Outlook, batch_s: float) -> bool:
    """Whether the node would finish its first image after the common end of the job and work beside it."""
    first_s = _first_s(option)
    return first_s is not None and ends_late(option.job_id, first_s, outlook, batch_s)


def ends_late(job_id: str, seconds: float, outlook: Outlook, batch_s: float) -> bool:
    """Whether work that takes so long from now on ends after the common end of its job and others."""
    return seconds > outlook.limit_s(job_id) + batch_s * _SLACK


def delays(option: Option, outlook: Outlook, batch_s: float) -> bool:
    """Whether the node would finish its first image after the job's own end."""
    first_s = _first_s(option)
    return first_s is not None and first_s > outlook.span_s(option.job_id) + batch_s * _SLACK


def _first_s(option: Option) -> float | None:
    """Seconds until the first image; None if nothing tells."""
    image_s = option.image_s if option.image_s is not None else option.expected_s
    return None if image_s is None else option.load_s + image_s


def share_seconds(option: Option, outlook: Outlook) -> float:
    """Seconds that nodes of this kind should still give to the model; 0 if too little for an image."""
    share_s = outlook.shares.get(option.model, 0.0)
    return 0.0 if share_s < _LEAST_SHARE * (option.expected_s or 0.0) else share_s


def choose(
    options: Sequence[Option],
    *,
    batch_s: float,
    outlook: Outlook = NO_OUTLOOK,
    left_s: Callable[[float], float] | None = None,
) -> Selection | None:
    """The work to assign now and the number of images; None if there is none that ends in time.

    `left_s` tells the seconds of all that waits for such a node, if an image of unknown speed takes so long;
    without it, the options are all.

    >>> small = Option(job_id="a", work_key="w", model="m", amount=1, owner="me", priority=50, owner_s=0,
    ...     service_s=0, submitted_at=0, images=9, image_s=10.0, pass_size=4, shared=False,
    ...     loaded=False, model_loaded=False, takers=2)
    >>> choose([small], batch_s=120).images
    4
    """
    options = [option for option in options if not wastes(option, outlook)]
    options = [option for option in options if not is_late(option, outlook, batch_s)]
    options = [option for option in options if not delays(option, outlook, batch_s)] or options
    if not options:
        return None
    owners = _alike(options, lambda option: (-option.priority, option.owner))
    theirs = min(owners, key=lambda some: _owner_rank(some, batch_s))
    option = min(_next_job(theirs, batch_s), key=lambda one: _work_rank(one, outlook))
    pass_size = _pass_size(option, outlook)
    images = _amount(option, pass_size, left_s or _left(options), batch_s, outlook)
    return Selection(option=option, images=images, pass_size=pass_size)


def refusal(lane: str, reasons: Mapping[str, int]) -> str:
    """Why a node gets no work; `reasons` maps each reason to the number of images that it affects."""
    if not reasons:
        return f"lane {lane} has no waiting work"
    worst = max(reasons, key=lambda reason: (reasons[reason], reason))
    return f"{sum(reasons.values())} images wait in lane {lane}, none for this node: {worst}"


def _alike(options: Sequence[Option], key: Callable[[Option], Hashable]) -> list[list[Option]]:
    parts: dict[Hashable, list[Option]] = {}
    for option in options:
        parts.setdefault(key(option), []).append(option)
    return list(parts.values())


def _owner_rank(options: Sequence[Option], batch_s: float) -> tuple[float, float, float, str]:
    one, next_ = options[0], _next_job(options, batch_s)[0]
    return (-one.priority, one.owner_s - _ahead(options, batch_s), next_.submitted_at, one.owner)


def _next_job(options: Sequence[Option], batch_s: float) -> list[Option]:
    return min(_alike(options, lambda option: option.job_id), key=lambda some: _job_rank(some, batch_s))


def _job_rank(options: Sequence[Option], batch_s: float) -> tuple[float, float, str]:
    one = options[0]
    return (one.service_s - _ahead(options, batch_s), one.submitted_at, one.job_id)


def _ahead(options: Sequence[Option], batch_s: float) -> float:
    """Seconds by which these may be ahead of others to keep a loaded model."""
    return AFFINITY_BATCHES * batch_s if any(option.loaded for option in options) else 0.0


def _work_rank(option: Option, outlook: Outlook) -> tuple[bool, float, int, bool, float, str]:
    share_s = share_seconds(option, outlook)
    kept = share_s > 0 and option.model_loaded
    return (not kept, -share_s, option.takers, not option.loaded, -option.amount, option.work_key)


def _left(options: Sequence[Option]) -> Callable[[float], float]:
    return lambda image_s: sum(one.images * (one.image_s or image_s) for one in options)


def _pass_size(option: Option, outlook: Outlook) -> int:
    """Images of a pass: those that are worth it, in the time that it may take."""
    image_s = option.image_s if option.image_s is not None else option.expected_s
    span_s = outlook.span_s(option.job_id) if option.takers > 1 else inf
    long_s = 0.0 if option.shared else min(PASS_S, span_s * _PASS_REST)
    return images_in_time(option.pass_size, image_s, max(long_s, _SHORT_PASS_S))


def _amount(
    option: Option, pass_size: int, left_s: Callable[[float], float], batch_s: float, outlook: Outlook
) -> int:
    """Images for `batch_s` seconds, in whole passes; fewer at the end, so that all nodes finish together."""
    most = min(option.images, MOST_IMAGES)
    # A node that is alone takes all, whenever that ends.
    span_s = outlook.limit_s(option.job_id) if option.takers > 1 else inf
    room_s = span_s + batch_s * _SLACK - option.load_s
    own_s = outlook.span_s(option.job_id) - option.load_s
    image_s = option.image_s if option.image_s is not None else option.expected_s
    if option.takers > 1 and 0 < own_s < batch_s:
        # All nodes together end a short job.
        least_s = batch_s * _SHORTEST / 2
        if not outlook.shares:
            # Among several models, nodes would change theirs for so little.
            least_s = min(least_s, _FEW_PASSES * pass_size * (image_s or inf))
        room_s = min(room_s, max(own_s, least_s))
    if image_s and room_s / image_s < pass_size:
        # A whole pass would end too late.
        return min(most, max(1, int(room_s / image_s)))
    if option.image_s is None or option.image_s == 0:
        # The first pass measures this node; an estimate could be wrong by a factor of ten.
        return min(most, pass_size)
    if span_s < inf:
        longest = _LONGEST_SHARED if option.shared else _LONGEST
        length_s = min(batch_s * longest, max(span_s * _REST, batch_s * _SHORTEST), room_s)
        images = length_s / option.image_s
    else:
        # Half of a fair share leaves work to faster nodes at the end.
        share_s = left_s(option.image_s) / (2 * option.takers) if option.takers > 1 else inf
        images = min(batch_s, share_s) / option.image_s
    if images >= most:
        return most
    return min(most, max(1, int(images / pass_size)) * pass_size)
