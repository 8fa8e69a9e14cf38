"""Batches in progress: when they end, what is taken back of them (a batch is trimmed), what is duplicated.

Pure. Two reasons to trim, both without cutting the pass that is rendered. Near the end of the work, nodes
become idle while others still have images that they have not begun: idle nodes take those that they finish
sooner. And a short job that is next in turn does not wait until nodes have rendered whole batches of others.
When nothing is left to take, idle nodes duplicate passes in progress that they finish sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, nsmallest
from math import fsum, inf
from typing import NamedTuple

from coordinator.scheduling.horizon import Seat, WaitingWork, finish, frugal

#: Seconds, and the share of a pass at most, that must be left of it for the next one not to count as begun:
#: what was rendered is reported later, and orders take a moment to arrive.
_NEARLY_OVER_S, _NEARLY_OVER = 3.0, 1 / 4
#: Passes that count as begun at most: one that is reported late is rendered slowly, or its images are still
#: being uploaded while the next pass is rendered.
_BEGUN = 2
#: Share of a batch's usual length that the batch must end sooner: a trim costs two commits and a claim.
_LEAST_GAIN = 1 / 40
#: Batches that are looked at in one round; the next one follows in a second.
_AT_MOST = 100
#: Share of a batch's usual length within which a short job is done soon enough.
_SOON = 1 / 6
#: Batches after which a work may end by itself, and still be short if nodes make way for it.
_NEARLY_SHORT = 6
#: By how much a short job may take longer, so that fewer nodes make way for it.
_LEEWAY = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningBatch:
    """A leased batch. Times are in seconds since 1970."""

    id: str
    job_id: str
    work_key: str
    #: Largest class that one of its shots needs, in GiB.
    min_class: int
    #: Images that were neither reported nor taken back.
    left: int
    pass_size: int
    #: When the node begins the first of them, or has begun it.
    since: float
    #: Expected seconds per image; None if nothing tells.
    image_s: float | None
    #: Whether its node had to load the model first.
    loads_model: bool = False
    #: The batch whose pass it renders as well; None if it has its shots for itself.
    duplicates: str | None = None
    #: Seconds for which the card worked on images that were reported.
    told_s: float = 0.0

    def end(self, now: float) -> float | None:
        """When its last image is expected; a pass that is late is expected to be as late again."""
        if self.image_s is None:
            return None
        late_s = max(0.0, now - self.since - self.in_pass * self.image_s)
        return max(now, self.since + self.left * self.image_s + 2 * late_s)

    @property
    def in_pass(self) -> int:
        """Images of the first pass that was not reported."""
        return min(self.left, self.pass_size)

    def not_begun(self, now: float) -> int:
        """Images after the pass that the node renders now, or is about to begin."""
        return self.left - self.begun(now)

    def pass_end(self, now: float) -> float:
        """When the node has rendered what it has begun."""
        return max(now, self.since + self.begun(now) * (self.image_s or 0.0))

    def begun(self, now: float) -> int:
        """Images of the passes up to the one that the node renders now, or is about to begin."""
        if not self.image_s:
            return self.left
        pass_s = self.image_s * self.pass_size
        nearly_over_s = min(_NEARLY_OVER_S, _NEARLY_OVER * pass_s)
        passes = min(_BEGUN, int((max(0.0, now - self.since) + nearly_over_s) / pass_s) + 1)
        return min(self.left, passes * self.pass_size)

    def without(self, images: int, at: float | None = None, seconds: float = 0.0) -> RunningBatch:
        """After so many images were reported at a time, which took `seconds`; taken back if there is none."""
        since = self.since if at is None else max(self.since, at)
        return replace(self, left=max(0, self.left - images), since=since, told_s=self.told_s + seconds)


class Tail(NamedTuple):
    """Images that a node has not begun, with the nodes in service that could take them."""

    batch_id: str
    images: int
    #: When the batch is expected to end, and seconds per image on its node.
    end: float
    image_s: float
    #: Node to how it would take them.
    seats: Mapping[str, Seat]


def trims(now: float, tails: Iterable[Tail], idle: Iterable[str], batch_s: float) -> dict[str, int]:
    """Batch to the images that are taken back from it, so that idle nodes finish them sooner.

    The batch that ends last is helped first, by the node that can take most of it, so that both end together.
    `batch_s` is the usual length of a batch. Looks at the `_AT_MOST` batches that end last of those that an
    idle node can take; grows with tails, and with works × idle nodes.
    """
    least_s = batch_s * _LEAST_GAIN
    free = dict.fromkeys(sorted(idle))
    found: dict[str, int] = {}
    latest = [(-tail.end, tail.batch_id, tail) for tail in _within_reach(tails, free.keys()) if tail.images]
    heapify(latest)
    for _ in range(_AT_MOST):
        if not free or not latest:
            break
        *_, tail = heappop(latest)
        shares = {node: _share(now + least_s, tail, tail.seats[node]) for node in free if node in tail.seats}
        node = max(shares, key=lambda one: shares[one], default=None)
        if node is None or shares[node] * tail.image_s < max(least_s, 1e-9):
            continue
        images = shares[node]
        del free[node]
        found[tail.batch_id] = found.get(tail.batch_id, 0) + images
        rest = tail._replace(images=tail.images - images, end=tail.end - images * tail.image_s)
        if rest.images:
            heappush(latest, (-rest.end, rest.batch_id, rest))
    return found


def _within_reach(tails: Iterable[Tail], idle: Set[str]) -> Iterator[Tail]:
    """The tails that an idle node can take; those of the same work have the same seats."""
    known: dict[int, bool] = {}
    for tail in tails:
        if id(tail.seats) not in known:
            known[id(tail.seats)] = not idle.isdisjoint(tail.seats)
        if known[id(tail.seats)]:
            yield tail


def _share(begin: float, tail: Tail, seat: Seat) -> int:
    """Images after which the node that takes them ends no later than the one that keeps the others."""
    room_s = tail.end - begin - seat.load_s
    return max(0, min(tail.images, int(room_s / (seat.image_s + tail.image_s)))) if room_s > 0 else 0


class RunningPass(NamedTuple):
    """Images that a node renders now, with the nodes in service that could render them too."""

    batch_id: str
    job_id: str
    images: int
    #: When the node is expected to have rendered them.
    end: float
    #: Node to how it would take them.
    seats: Mapping[str, Seat]


class Copy(NamedTuple):
    """What a node should render although another one does: so many images of the pass of a batch."""

    batch_id: str
    job_id: str
    images: int


def duplicates(
    now: float,
    passes: Iterable[RunningPass],
    idle: Iterable[str],
    batch_s: float,
    allowed_s: Mapping[str, float],
) -> dict[str, Copy]:
    """Idle node to the images of a pass in progress that it should render as well, because it is faster.

    The pass that ends last is helped first, by the fewest nodes that finish about as soon as all of them.
    `allowed_s` is the time of cards that further duplicates of a job may take. Grows with passes, and with
    the `_AT_MOST` that end last × idle nodes.
    """
    least_s = batch_s * _LEAST_GAIN
    left_s = dict(allowed_s)
    free = set(idle)
    found: dict[str, Copy] = {}
    for one in nsmallest(_AT_MOST, passes, key=lambda one: (-one.end, one.batch_id)):
        seats = [one.seats[node] for node in sorted(free) if node in one.seats]
        end = finish(now, seats, one.images) if seats else inf
        if end + least_s > one.end:
            continue
        until = min(one.end, now + (end - now) * _LEEWAY)
        crew = {node: images for node, images, _ in _crew(until, seats, one.images)}
        takes_s = fsum(one.seats[node].load_s + crew[node] * one.seats[node].image_s for node in crew)
        if takes_s > left_s.get(one.job_id, 0.0):
            continue
        left_s[one.job_id] -= takes_s
        free -= crew.keys()
        found |= {node: Copy(one.batch_id, one.job_id, images) for node, images in crew.items()}
    return found


class Turns(NamedTuple):
    """How the nodes serve works one after the other."""

    #: Job and model to the expected end.
    ends: dict[tuple[str, str], float]
    #: Batch to the images that are taken back from it, so that its node is free for a short work.
    trims: dict[str, int]


def take_turns(
    now: float,
    works: Iterable[WaitingWork],
    running: Mapping[str, RunningBatch],
    goes_before: Callable[[str, str], bool],
    batch_s: float,
) -> Turns:
    """Plan for works in the order of their turns; only short ones count as served before the others.

    Nodes that leave a work to others in eco mode are left out. Short is what ends in `batch_s` seconds.
    `running` has the batches by node; `goes_before` tells whether a job is served before another. Grows with
    works × nodes.
    """
    found = Turns({}, {})
    #: Node to when it is free again after the works before.
    taken: dict[str, float] = {}
    soon = now + batch_s * _SOON
    for work in frugal(works)[0]:
        seats = [
            seat if seat.node_id not in taken else seat._replace(free_at=taken[seat.node_id])
            for seat in work.seats
        ]
        end = finish(now, seats, work.images)
        making_way = dict[str, RunningBatch]()
        if soon < end < now + _NEARLY_SHORT * batch_s:
            yielding = {
                node_id: running[node_id]
                for node_id, *_ in seats
                if node_id in running
                and node_id not in taken
                and goes_before(work.job_id, running[node_id].job_id)
            }
            early = [_early(now, seat, yielding) for seat in seats]
            sooner = max(soon, now + (finish(now, early, work.images) - now) * _LEEWAY)
            if sooner + batch_s * _LEAST_GAIN < end:
                seats, end, making_way = early, sooner, yielding
        found.ends[work.job_id, work.model] = end
        if end <= now + batch_s:
            for node_id, _, free_at in _crew(max(end, soon), seats, work.images):
                taken[node_id] = free_at
                if node_id in making_way:
                    batch = making_way[node_id]
                    found.trims[batch.id] = batch.not_begun(now)
    return Turns(found.ends, {batch_id: images for batch_id, images in found.trims.items() if images})


def _early(now: float, seat: Seat, yielding: Mapping[str, RunningBatch]) -> Seat:
    """The seat as if its node ended its batch after the pass in progress."""
    batch = yielding.get(seat.node_id)
    return seat if batch is None else seat._replace(free_at=min(seat.free_at, batch.pass_end(now)))


def _crew(end: float, seats: Iterable[Seat], images: int) -> Iterator[tuple[str, int, float]]:
    """The fewest nodes that make so many images until an end, with their shares and when they have them."""
    shares = {seat: int((end - seat.free_at - seat.load_s) / max(seat.image_s, 1e-9)) for seat in seats}
    for seat in sorted(shares, key=lambda one: (-min(shares[one], images), one.free_at, one.node_id)):
        share = min(shares[seat], images)
        if share < 1:
            return
        images -= share
        yield seat.node_id, share, seat.free_at + seat.load_s + share * seat.image_s
