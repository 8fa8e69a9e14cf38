"""The survey: what the backlog holds at one moment, as the look-ahead needs it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.horizon import NodeKind, Seat, WaitingWork
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import expected_pace, load_seconds
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.running import Copy, RunningBatch, RunningPass, Tail, duplicates
from coordinator.scheduling.work import Line, OpenJob

#: Share of a batch by which an owner or job must be behind to go before another: batches differ by as much.
_BEHIND = 1 / 4


@dataclass(frozen=True, slots=True)
class Survey:
    """What waits and runs at a time, in seconds since 1970. Must not be changed."""

    #: Of the backlog in the ledger.
    version: int
    now: float
    #: What waits, by lane, in the order of turns.
    works: Mapping[str, Sequence[WaitingWork]]
    #: Node in service to its batch.
    running: Mapping[str, RunningBatch]
    #: Nodes in service without a batch; if there are any, what others have not begun, and what they render.
    idle: frozenset[str]
    tails: Sequence[Tail]
    passes: Sequence[RunningPass]
    #: Jobs without a batch whose texts nothing has embedded, for which such a node waits.
    without_texts: frozenset[str]
    _backlog: Backlog
    _behind_s: float

    def duplicates(self, idle: Set[str], batch_s: float) -> dict[str, Copy]:
        """Idle node to what it should render although another one does."""
        jobs = {one.job_id: self._backlog.jobs[one.job_id] for one in self.passes}
        allowed_s = {job_id: job.for_duplicates_s for job_id, job in jobs.items()}
        return duplicates(self.now, self.passes, idle, batch_s, allowed_s)

    def goes_before(self, job_id: str, other_id: str) -> bool:
        """Whether a job is served before another of its lane."""
        job, other = self._backlog.jobs[job_id], self._backlog.jobs.get(other_id)
        if other is None or other.lane != job.lane:
            return False
        if job.priority != other.priority:
            return job.priority > other.priority
        if job.owner == other.owner:
            return job.service_s + self._behind_s < other.service_s
        usage = self._backlog.usage
        return usage.of(job.owner, self.now) + self._behind_s < usage.of(other.owner, self.now)


@dataclass(slots=True)
class _Seating:
    """The nodes in service as seats; what is the same for all work is worked out once."""

    backlog: Backlog
    now: float
    batch_s: float
    #: Node to its kind, and to when it is free.
    _nodes: dict[str, tuple[NodeKind, float]] = field(default_factory=dict)

    def of(self, lane: str, line: Line, amount: float) -> tuple[Seat, ...]:
        """Nodes that can take shots of a line, without those of which nothing tells how fast.

        `amount` is that of an image, in megapixel-forwards.
        """
        backlog, work, seats = self.backlog, self.backlog.works[line.work_key], list[Seat]()
        for group in backlog.peers.within(backlog.reach(lane, line)):
            placement = backlog.placement(line.work_key, group.example.card)
            assert isinstance(placement, Placement)
            joules = placement.joules and placement.joules * amount
            for member in map(backlog.serving.__getitem__, group.serving):
                pace_s = expected_pace(member, work.model, placement, backlog)
                if pace_s is not None:
                    kind, free_at = self._node(member)
                    load_s = load_seconds(member, work, placement)
                    seats.append(Seat(member.id, kind, free_at, load_s, pace_s * amount, joules))
        return tuple(sorted(seats, key=attrgetter("node_id")))

    def allowed(self, seats: Sequence[Seat], job: OpenJob) -> tuple[Seat, ...]:
        """Those of the seats that may render for a job."""
        nodes = self.backlog.serving
        return tuple(seat for seat in seats if self.backlog.may_take(nodes[seat.node_id], job))

    def _node(self, member: Member) -> tuple[NodeKind, float]:
        known = self._nodes.get(member.id)
        if known is None:
            free_at = self.backlog.free_at(member, self.now, self.batch_s)
            known = self._nodes[member.id] = member.kind, free_at
        return known


def survey(backlog: Backlog, version: int, now: float, batch_s: float, *, eco: bool = True) -> Survey:
    """Survey a backlog that nobody changes; `eco` is for jobs that say nothing of it.

    Grows with the work keys × nodes, and with running batches.
    """
    running = {
        node_id: backlog.at_its_pace(backlog.serving[node_id], batch)
        for node_id, batch in backlog.running.items()
        if node_id in backlog.serving
    }
    idle, seating = backlog.idle(), _Seating(backlog, now, batch_s)
    held = list(_held(seating, running, eco)) if idle else []
    return Survey(
        version,
        now,
        _works(seating, eco),
        running,
        idle,
        list(_tails(held, now)),
        list(_passes(held, {batch.duplicates for batch in running.values()})),
        frozenset(_without_texts(backlog, idle)),
        backlog,
        _BEHIND * batch_s,
    )


def _without_texts(backlog: Backlog, idle: Set[str]) -> Iterator[str]:
    for line in backlog.lines if idle else ():
        if not backlog.has_batch(line.job_id) and backlog.waits_for_texts(line, idle):
            yield line.job_id


def _works(seating: _Seating, eco: bool) -> dict[str, list[WaitingWork]]:
    """By lane, what waits of each job and model, with the nodes in service that can take it.

    The work key with the most images stands for those of its job and model; an image takes as long as they
    take on average. Batches in progress whose end is unknown count half of a usual one.
    """
    backlog, now = seating.backlog, seating.now
    largest: dict[tuple[str, str], tuple[int, Line]] = {}
    images: Counter[tuple[str, str]] = Counter()
    amounts: dict[tuple[str, str], float] = defaultdict(float)
    for line, number in backlog.lines.items():
        work = backlog.works[line.work_key]
        key = line.job_id, work.model
        images[key] += number
        amounts[key] += number * work.amount
        largest[key] = max((number, line), largest.get(key, (0, line)))
    found: dict[str, list[WaitingWork]] = {}
    #: Jobs often share a work key, and then all their seats.
    known: dict[tuple[str, str, int, float], tuple[Seat, ...]] = {}
    for key, (_, line) in sorted(largest.items(), key=lambda one: _turn(backlog, one[0], now)):
        job = backlog.jobs[line.job_id]
        amount = amounts[key] / images[key]
        alike = job.lane, line.work_key, line.min_class, amount
        if alike not in known:
            known[alike] = seating.of(job.lane, line, amount)
        frugal = eco if job.eco is None else job.eco
        seats = known[alike] if job.verifies is None else seating.allowed(known[alike], job)
        found.setdefault(job.lane, []).append(WaitingWork(*key, images[key], seats, job.priority, frugal))
    return found


def _turn(
    backlog: Backlog, work: tuple[str, str], now: float
) -> tuple[int, float, str, float, float, str, str]:
    """As the planner serves jobs, without regard to what nodes have loaded."""
    job_id, model = work
    job = backlog.jobs[job_id]
    owner_s = backlog.usage.of(job.owner, now)
    return -job.priority, owner_s, job.owner, job.service_s, job.submitted_at, job_id, model


class _Held(NamedTuple):
    """A batch whose end is known, with the nodes in service that could take its shots."""

    batch: RunningBatch
    end: float
    image_s: float
    seats: Mapping[str, Seat]


def _held(seating: _Seating, running: Mapping[str, RunningBatch], eco: bool) -> Iterator[_Held]:
    """The batches of others that idle nodes may help with, without those that duplicate one."""
    backlog, now = seating.backlog, seating.now
    known: dict[tuple[str, str, int, bool], dict[str, Seat]] = {}
    for batch in running.values():
        job, end = backlog.jobs.get(batch.job_id), batch.end(now)
        if job is None or not batch.left or end is None or batch.image_s is None or batch.duplicates:
            continue
        if job.verifies is not None:
            # It is short, and not for everyone.
            continue
        frugal = eco if job.eco is None else job.eco
        alike = job.lane, batch.work_key, batch.min_class, frugal
        if alike not in known:
            line, work = (
                Line(batch.job_id, batch.work_key, batch.min_class),
                backlog.works[batch.work_key],
            )
            seats = seating.of(job.lane, line, work.amount)
            whole = WaitingWork(batch.job_id, work.model, batch.left, seats, job.priority, frugal)
            known[alike] = {seat.node_id: seat for seat in whole.without(whole.wasteful).seats}
        yield _Held(batch, end, batch.image_s, known[alike])


def _tails(held: Iterable[_Held], now: float) -> Iterator[Tail]:
    """What nodes have not begun of their batches."""
    for batch, end, image_s, seats in held:
        if images := batch.not_begun(now):
            yield Tail(batch.id, images, end, image_s, seats)


def _passes(held: Sequence[_Held], duplicated: Container[str | None]) -> Iterator[RunningPass]:
    """What nodes render now, unless it is duplicated already."""
    for batch, end, image_s, seats in held:
        if batch.id not in duplicated:
            pass_end = end - (batch.left - batch.in_pass) * image_s
            yield RunningPass(batch.id, batch.job_id, batch.in_pass, pass_end, seats)
