"""The horizon: when each job can be finished, and how the nodes should be shared among models until then.

Pure. It looks at every node for every job, so a claim does not: a background loop works it out about once a
second, and claims read it (`Outlook`). A node that could not finish an image before the end of a job leaves
it to faster nodes, unless it would be idle until all work ends. Near the end, batches get shorter, so that
all nodes finish together. A card that needs much more energy for an image than another one in service leaves
it to that one (eco mode).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain, groupby
from math import fsum, inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Times the energy of the best card that an image may take on another one in eco mode, as long as the cards
#: that leave it to others have no more than this share of the speed of all.
_WASTE, _SPARED = 4.0, 1 / 2
#: Precision of an end, as a share of the time until then.
_PRECISION = 1e-3
#: Share of the time until an end by which it may slip before its work is open to all nodes.
_SLIP = 0.5
#: Seconds for which a horizon counts; afterwards claims do without it.
FRESH_S = 5.0
#: An end that is further away than this is none: nodes are too slow, or there are none.
_NEVER_S = 1e9
#: Rounds in which the end and the shares of several models are adjusted to each other.
_ROUNDS = 6
#: The end is close enough when capacity and work differ by less than this share.
_CLOSE = 0.03
NOTHING: Mapping[tuple[str, str], float] = {}


class NodeKind(NamedTuple):
    """Nodes that are alike to the planner."""

    card_type: str
    loaded: str | None
    #: Models that they can take.
    models: frozenset[str] = frozenset()


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
    #: Energy of an image on such a card, as estimated before any is measured; None if nothing tells.
    joules: float | None = None


class WaitingWork(NamedTuple):
    """Waiting images of one job and model, and the nodes that can take them."""

    job_id: str
    model: str
    images: int
    seats: tuple[Seat, ...]
    priority: int = 50
    #: Whether cards that waste energy leave it to others.
    eco: bool = True

    @property
    def wasteful(self) -> frozenset[str]:
        """Types of the cards that leave it to those that need much less energy.

        By type: what slows down one node for a while must not keep it away for good. The most wasteful ones
        first: one frugal card does not do the work of a hundred others.
        """
        joules: dict[str, float] = {}
        speeds: dict[str, list[float]] = defaultdict(list)
        for seat in self.seats if self.eco else ():
            speeds[seat.kind.card_type].append(1 / max(seat.image_s, 1e-9))
            if seat.joules is not None:
                known = joules.get(seat.kind.card_type, inf)
                joules[seat.kind.card_type] = min(known, seat.joules)
        least = min(joules.values(), default=inf)
        found, spared = set[str](), fsum(chain(*speeds.values())) * _SPARED
        for card in sorted(joules, key=lambda one: (-joules[one], one)):
            spared -= fsum(speeds[card])
            if joules[card] <= _WASTE * least or spared < 0:
                break
            found.add(card)
        return frozenset(found)

    def without(self, cards: Set[str]) -> WaitingWork:
        """The same for nodes with other cards."""
        if not cards:
            return self
        return self._replace(seats=tuple(seat for seat in self.seats if seat.kind.card_type not in cards))


@dataclass(frozen=True, slots=True)
class Outlook:
    """The horizon as one node sees it."""

    now: float
    #: Job to its own end. None without a horizon that is fresh: no work is late.
    ends: Mapping[str, float] | None = None
    #: Job to the common end of all work that goes before it or beside it.
    limits: Mapping[str, float] = field(default_factory=dict)
    #: Model to seconds that nodes of this kind should still give to it; empty if one model is enough.
    shares: Mapping[str, float] = field(default_factory=dict)
    card_type: str = ""
    #: Job and model to the types of the cards that leave it to those that need much less energy.
    wasteful: Mapping[tuple[str, str], Set[str]] = field(default_factory=dict)
    #: Jobs that are next on nodes with a text encoder.
    due: Set[str] = frozenset()

    def wastes(self, job_id: str, model: str) -> bool:
        """Whether the node leaves such work to cards that need much less energy."""
        return self.card_type in self.wasteful.get((job_id, model), ())

    def span_s(self, job_id: str) -> float:
        """Seconds until a job's own end; negative if the horizon does not know the job yet."""
        return inf if self.ends is None else self.ends.get(job_id, -inf) - self.now

    def limit_s(self, job_id: str) -> float:
        """The same of the common end."""
        return inf if self.ends is None else self.limits.get(job_id, -inf) - self.now


@dataclass(slots=True)
class Horizon:
    """What the fleet will do with the work that waits in a lane."""

    at: float = -inf
    ends: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    #: Seconds that nodes of a kind should still give to a model.
    shares: dict[tuple[NodeKind, str], float] = field(default_factory=dict)
    #: Free nodes that could finish an image before the common end.
    useful: frozenset[str] = frozenset()
    #: Job and model to the types of the cards that leave it to those that need much less energy.
    wasteful: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    #: Jobs for whose texts free nodes have waited too long: they are next on nodes with a text encoder.
    due: frozenset[str] = frozenset()

    @property
    def end(self) -> float:
        """When the last job ends."""
        return max((end for end in self.limits.values() if end < inf), default=-inf)

    def is_fresh(self, now: float) -> bool:
        return self.at <= now <= self.at + FRESH_S

    def left_by(self, card_type: str, now: float) -> set[str]:
        """Models that wait, and that such cards leave to those that need much less energy."""
        if not self.is_fresh(now):
            return set()
        return {model for (_, model), cards in self.wasteful.items() if card_type in cards}

    def outlook(self, now: float, kind: NodeKind) -> Outlook:
        if not self.is_fresh(now):
            return Outlook(now)
        shares = {model: left for (some, model), left in self.shares.items() if some == kind}
        return Outlook(now, self.ends, self.limits, shares, kind.card_type, self.wasteful, self.due)

    def give(self, kind: NodeKind, model: str, now: float) -> None:
        """Record that a node of this kind replaces its model, and keeps the new one until the end."""
        if (kind, model) in self.shares:
            self.shares[kind, model] -= max(0.0, self.end - now)


def look_ahead(
    now: float,
    works: Sequence[WaitingWork],
    open_to_all: Iterable[str] = (),
    *,
    known: Mapping[tuple[str, str], float] = NOTHING,
) -> Horizon:
    """The horizon of the work that waits in a lane; jobs in `open_to_all` have no end and are for all cards.

    `known` has the own ends of works by job and model; others are as if each were served first.

    A job's own end is the earliest time by which the nodes together can finish its waiting images if they
    take them after their batches in progress, before all other work. Its common end is that of all work of at
    least its priority.
    """
    nothing = {work.job_id: inf for work in works}
    opened = dict.fromkeys(open_to_all, inf)
    works, wasteful = frugal([work for work in works if work.seats], opened)
    models = {work.model for work in works}
    lane_end, shares = share_models(now, works) if len(models) > 1 else (inf, {})
    own = {
        (work.job_id, work.model): known.get((work.job_id, work.model))
        or finish(now, work.seats, work.images)
        for work in works
    }
    common: dict[int, float] = {}
    for priority in {work.priority for work in works}:
        beside = [work for work in works if work.priority >= priority]
        slowest = max(own[work.job_id, work.model] for work in beside)
        common[priority] = max(finish(now, pooled(beside), sum(work.images for work in beside)), slowest)
    ends, limits = dict(nothing), dict(nothing)
    for job_id, some in groupby(sorted(works, key=lambda work: work.job_id), key=lambda work: work.job_id):
        mine = list(some)
        each = [own[job_id, work.model] for work in mine]
        serially = now + sum(end - now for end in each)
        ends[job_id] = max(*each, min(serially, lane_end)) if len(each) > 1 else each[0]
        limits[job_id] = max(ends[job_id], common[mine[0].priority])
    useful = frozenset(
        seat.node_id
        for work in works
        for seat in work.seats
        if seat.free_at <= now and now + seat.load_s + seat.image_s <= limits[work.job_id]
    )
    return Horizon(now, ends | opened, limits | opened, shares, useful, wasteful)


def frugal(
    works: Iterable[WaitingWork], opened: Container[str] = ()
) -> tuple[list[WaitingWork], dict[tuple[str, str], frozenset[str]]]:
    """The works without the cards that waste energy on them, and the types of these by job and model.

    Jobs in `opened` are left to all cards.
    """
    works = list(works)
    found, wasteful = [], dict[tuple[str, str], frozenset[str]]()
    #: Works often share all their seats.
    known: dict[int, tuple[frozenset[str], tuple[Seat, ...]]] = {}
    for work in works:
        if not work.eco or work.job_id in opened:
            found.append(work)
            continue
        alike = id(work.seats)
        if alike not in known:
            cards = work.wasteful
            known[alike] = cards, work.without(cards).seats
        cards, seats = known[alike]
        found.append(work._replace(seats=seats))
        if cards:
            wasteful[work.job_id, work.model] = cards
    return found, wasteful


def pooled(works: Sequence[WaitingWork]) -> list[Seat]:
    """Each node once, with the mean time of an image over all work that it can take."""
    seats: dict[str, Seat] = {}
    total: dict[str, float] = defaultdict(float)
    images: dict[str, int] = defaultdict(int)
    for work in works:
        for seat in work.seats:
            known = seats.setdefault(seat.node_id, seat)
            if seat.load_s < known.load_s:
                seats[seat.node_id] = known._replace(load_s=seat.load_s)
            total[seat.node_id] += work.images * seat.image_s
            images[seat.node_id] += work.images
    return [seat._replace(image_s=total[node_id] / images[node_id]) for node_id, seat in seats.items()]


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


@dataclass(slots=True)
class _Wait:
    """How a job waits: so many images since a time, with the common end as it was then."""

    images: int
    since: float
    promised: float
    #: Since when a free node could finish one of them in time; None if none can.
    offered: float | None = None


class Patience:
    """Finds jobs whose images nobody takes although they are left to the nodes that finish them first.

    Something that the horizon does not know keeps these nodes away, such as other work, or an earlier failure
    of the shot there: after a while, slower nodes may take the images too.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._waits: dict[str, _Wait] = {}

    def exhausted(self, now: float, works: Sequence[WaitingWork], horizon: Horizon) -> set[str]:
        """Jobs none of whose images was taken by their common end, or by a free node, for long enough."""
        images: dict[str, int] = defaultdict(int)
        offered: set[str] = set()
        for work in works:
            images[work.job_id] += work.images
            if any(seat.node_id in horizon.useful for seat in work.seats):
                offered.add(work.job_id)
        before, self._waits = self._waits, {}
        for job_id, number in images.items():
            wait = before.get(job_id)
            # A clock that was set back begins anew.
            if wait is None or number < wait.images or now < wait.since:
                wait = _Wait(number, now, horizon.limits[job_id])
            wait.images = number
            wait.offered = (now if wait.offered is None else wait.offered) if job_id in offered else None
            self._waits[job_id] = wait
        return {job_id for job_id, wait in self._waits.items() if self._is_over(now, wait)}

    def _is_over(self, now: float, wait: _Wait) -> bool:
        refused = wait.offered is not None and now - wait.offered >= self._wait_s
        # Ends slip by a part of the time until then when nodes slow down or leave.
        slip_s = max(self._wait_s, _SLIP * (wait.promised - wait.since))
        return refused or now >= wait.promised + slip_s
