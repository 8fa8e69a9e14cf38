"""The horizon: when each job can be finished, and how the nodes should be shared among models until then.

Pure. It looks at every node for every job, so a claim does not: a background loop works it out about once a
second, and claims read it (`Outlook`). A node that could not finish an image before the end of a job leaves
it to faster nodes; near the end, batches get shorter, so that all nodes finish together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Precision of an end, as a share of the time until then.
_PRECISION = 1e-3
#: An end that is further away than this is none: nodes are too slow, or there are none.
_NEVER_S = 1e9
#: Rounds in which the end and the shares of several models are adjusted to each other.
_ROUNDS = 6
#: The end is close enough when capacity and work differ by less than this share.
_CLOSE = 0.03


class NodeKind(NamedTuple):
    """Nodes that are alike to the planner."""

    card_type: str
    loaded: str | None


class Seat(NamedTuple):
    """A node in service that can take shots of one job and model. Times are seconds on the clock of `now`."""

    node_id: str
    kind: NodeKind
    #: When its batch in progress is expected to end.
    free_at: float
    #: Seconds to load the model; 0 if it is loaded.
    load_s: float
    #: Seconds per image.
    image_s: float


class WaitingWork(NamedTuple):
    """Waiting images of one job and model, and the nodes that can take them."""

    job_id: str
    model: str
    images: int
    seats: tuple[Seat, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The horizon as one node sees it."""

    now: float
    #: Job to its expected end, infinite if nothing tells. None before the first horizon: no work is late.
    ends: Mapping[str, float] | None = None
    #: Model to seconds that nodes of this kind should still give to it; empty if one model is enough.
    shares: Mapping[str, float] = field(default_factory=dict)

    def span_s(self, job_id: str) -> float:
        """Seconds until the expected end of a job; negative if the horizon does not know the job yet."""
        return inf if self.ends is None else self.ends.get(job_id, -inf) - self.now


@dataclass(slots=True)
class Horizon:
    """What the fleet will do with the work that waits in a lane."""

    ends: dict[str, float] = field(default_factory=dict)
    #: When the last of them ends.
    end: float = -inf
    #: Seconds that nodes of a kind should still give to a model.
    shares: dict[tuple[NodeKind, str], float] = field(default_factory=dict)
    #: Free nodes that could finish an image in time.
    useful: frozenset[str] = frozenset()

    def outlook(self, now: float, kind: NodeKind) -> Outlook:
        shares = {model: left for (some, model), left in self.shares.items() if some == kind}
        return Outlook(now, self.ends, shares)

    def give(self, kind: NodeKind, model: str, now: float) -> None:
        """Record that a node of this kind replaces its model, and keeps the new one until the end."""
        if (kind, model) in self.shares:
            self.shares[kind, model] -= max(0.0, self.end - now)


def look_ahead(now: float, works: Sequence[WaitingWork], open_to_all: Iterable[str] = ()) -> Horizon:
    """The horizon of the work that waits in a lane; jobs in `open_to_all` have no end.

    The end of a job is the earliest time by which the nodes together can finish its waiting images if they
    take them after their batches in progress. A job of several models ends when the lane does, or when one
    model after the other would be finished, whichever is earlier.
    """
    ends = {work.job_id: inf for work in works}
    works = [work for work in works if work.seats]
    finished = {(work.job_id, work.model): finish(now, work.seats, work.images) for work in works}
    models = {work.model for work in works}
    lane_end, shares = share_models(now, works) if len(models) > 1 else (inf, {})
    for job_id, some in groupby(sorted(works, key=lambda work: work.job_id), key=lambda work: work.job_id):
        each = [finished[job_id, work.model] for work in some]
        serially = now + sum(end - now for end in each)
        ends[job_id] = max(*each, min(serially, lane_end)) if len(each) > 1 else each[0]
    ends |= dict.fromkeys(open_to_all, inf)
    useful = frozenset(
        seat.node_id
        for work in works
        for seat in work.seats
        if seat.free_at <= now and now + seat.load_s + seat.image_s <= ends[work.job_id]
    )
    end = max((end for end in ends.values() if end < inf), default=-inf)
    return Horizon(ends, end, shares, useful)


def finish(now: float, seats: Sequence[Seat], images: int) -> float:
    """The earliest time by which the nodes can finish so many images; infinite if they cannot.

    >>> kind = NodeKind("card", None)
    >>> finish(0.0, [Seat("a", kind, 0.0, 20.0, 10.0), Seat("b", kind, 0.0, 0.0, 100.0)], 4) < 61
    True
    """
    begin = np.array([max(now, seat.free_at) + seat.load_s for seat in seats])
    image_s = np.array([max(seat.image_s, 1e-9) for seat in seats])
    low, high = 0.0, 60.0
    while _images_by(now + high, begin, image_s) < images:
        low, high = high, 2 * high
        if high > _NEVER_S:
            return inf
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        if _images_by(now + middle, begin, image_s) >= images:
            high = middle
        else:
            low = middle
    return now + high


def _images_by(end: float, begin: NDArray[np.float64], image_s: NDArray[np.float64]) -> float:
    return float(np.floor(np.maximum(0.0, end - begin) / image_s).sum())


def share_models(now: float, works: Sequence[WaitingWork]) -> tuple[float, dict[tuple[NodeKind, str], float]]:
    """When the nodes finish all models, and how many seconds each kind of node gives to each model.

    A linear program over kinds and models, with one load for each node and model; the fewest loads follow
    from it, because loading takes time. Adjusts the end until the capacity up to it equals the work.
    """
    need: dict[str, int] = defaultdict(int)
    for work in works:
        need[work.model] += work.images
    crews = _crews(works, need)
    span_s = max(finish(now, list(crew.values()), need[model]) for model, crew in crews.items()) - now
    shares: dict[tuple[NodeKind, str], float] = {}
    if span_s == inf:
        return inf, shares
    for _ in range(_ROUNDS):
        solved = _solve(now, span_s, need, crews)
        if solved is None:
            span_s *= 1.5
            continue
        load, shares = solved
        span_s *= min(2.0, max(0.5, load**0.7))
        if abs(load - 1) < _CLOSE:
            break
    return now + span_s, shares


#: Node to its seat.
_Crew = dict[str, Seat]


def _crews(works: Sequence[WaitingWork], need: Mapping[str, int]) -> dict[str, _Crew]:
    """Model to the nodes that can take it, at the mean time of its images over all jobs."""
    total: dict[tuple[str, str], float] = defaultdict(float)
    weight: dict[tuple[str, str], int] = defaultdict(int)
    seats: dict[str, _Crew] = {model: {} for model in need}
    for work in works:
        for seat in work.seats:
            total[work.model, seat.node_id] += work.images * seat.image_s
            weight[work.model, seat.node_id] += work.images
            seats[work.model][seat.node_id] = seat
    return {
        model: {
            node: seat._replace(image_s=total[model, node] / weight[model, node])
            for node, seat in crew.items()
        }
        for model, crew in seats.items()
    }


def _solve(
    now: float, span_s: float, need: Mapping[str, int], crews: Mapping[str, _Crew]
) -> tuple[float, dict[tuple[NodeKind, str], float]] | None:
    """The share of the capacity within `span_s` that the work takes, and the seconds by kind and model.

    None if some model cannot be rendered at all within that time.
    """
    from scipy.optimize import linprog

    free: dict[NodeKind, dict[str, float]] = defaultdict(dict)
    made: dict[tuple[NodeKind, str], float] = defaultdict(float)
    room: dict[tuple[NodeKind, str], float] = defaultdict(float)
    for model, crew in crews.items():
        for seat in crew.values():
            left_s = now + span_s - max(now, seat.free_at)
            if left_s > 0:
                free[seat.kind][seat.node_id] = left_s
                room[seat.kind, model] += left_s
                made[seat.kind, model] += max(0.0, left_s - seat.load_s) / max(seat.image_s, 1e-9)
    able = sorted((key for key, images in made.items() if images > 0), key=str)
    if {model for _, model in able} != set(need):
        return None
    kinds, models = sorted(free, key=str), sorted(need)
    # Seconds per image, with a part of the load; the last variable is the share of the capacity.
    image_s = [room[key] / made[key] for key in able]
    limits = np.zeros((len(kinds) + len(models), len(able) + 1))
    for column, (kind, model) in enumerate(able):
        limits[kinds.index(kind), column] = image_s[column]
        limits[len(kinds) + models.index(model), column] = -1.0
    for row, kind in enumerate(kinds):
        limits[row, -1] = -sum(free[kind].values())
    bounds = [0.0] * len(kinds) + [-float(need[model]) for model in models]
    goal = [0.0] * len(able) + [1.0]
    answer = linprog(goal, A_ub=limits, b_ub=bounds, bounds=(0, None), method="highs")
    if answer.status != 0:
        return None
    return float(answer.x[-1]), {key: float(answer.x[n] * image_s[n]) for n, key in enumerate(able)}


class Patience:
    """Finds jobs whose images wait although a free node could finish some in time.

    Something that the horizon does not know keeps the node away, such as an earlier failure of the shot
    there: after a while, slower nodes may take them too.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        #: Job to its waiting images, and since when there were that many.
        self._since: dict[str, tuple[int, float]] = {}

    def exhausted(self, now: float, works: Sequence[WaitingWork], horizon: Horizon) -> set[str]:
        """Jobs that have waited for too long."""
        images: dict[str, int] = defaultdict(int)
        offered: set[str] = set()
        for work in works:
            images[work.job_id] += work.images
            if any(seat.node_id in horizon.useful for seat in work.seats):
                offered.add(work.job_id)
        before, self._since = self._since, {}
        for job_id in offered:
            known = before.get(job_id)
            same = known is not None and images[job_id] >= known[0]
            self._since[job_id] = (images[job_id], known[1] if known and same else now)
        return {job_id for job_id, (_, at) in self._since.items() if now - at >= self._wait_s}
