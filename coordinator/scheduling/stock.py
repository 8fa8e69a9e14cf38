"""The stock: what waits, in the order in which claims look at it, so that none of them looks at all."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from coordinator.scheduling.peers import Reach
from coordinator.scheduling.work import Line, Loaded, OpenJob, WorkSample

K = TypeVar("K")


class StockLine(NamedTuple):
    """A line of a job, the most work first."""

    less: float
    work_key: str
    min_class: int


class Turn(NamedTuple):
    """A job among those of its owner, the one that received least first."""

    service_s: float
    submitted_at: float
    job_id: str


class WaitingTotal(NamedTuple):
    """What waits of a model in a lane."""

    images: int = 0
    #: Millionths of a megapixel-forward, which add up without rounding.
    amount: int = 0


#: What waits, by model and reach.
Totals = dict[tuple[str, Reach], WaitingTotal]


@dataclass(slots=True)
class JobStock:
    """The lines of one job."""

    #: By model and reach.
    by_model: dict[tuple[str, Reach], list[StockLine]] = field(default_factory=dict)
    #: By model and LoRAs, then by reach.
    by_loads: dict[Loaded, dict[Reach, list[StockLine]]] = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)

    def add(self, entry: StockLine, work: WorkSample, reach: Reach) -> None:
        insort(self.by_model.setdefault((work.model, reach), []), entry)
        insort(self.by_loads.setdefault(work.loads, {}).setdefault(reach, []), entry)

    def remove(self, entry: StockLine, work: WorkSample, reach: Reach) -> None:
        _take(self.by_model, (work.model, reach), entry)
        loads = self.by_loads[work.loads]
        _take(loads, reach, entry)
        if not loads:
            del self.by_loads[work.loads]


#: Negative priority and owner of jobs that take turns.
Rank = tuple[int, str]


@dataclass(slots=True)
class Stock:
    #: Those for which something waits.
    jobs: dict[str, JobStock] = field(default_factory=dict)
    #: Lane and rank to its jobs, in the order of their turns.
    _turns: dict[str, dict[Rank, list[Turn]]] = field(default_factory=dict)
    #: Job to where it is in `_turns`.
    _places: dict[str, tuple[str, Rank, Turn]] = field(default_factory=dict)
    #: Lane, with model and LoRAs, to the jobs with lines that need just these.
    _holders: dict[tuple[str, Loaded], set[str]] = field(default_factory=dict)
    _totals: dict[str, Totals] = field(default_factory=dict)
    #: Lane to the jobs that have a budget.
    _limited: dict[str, set[str]] = field(default_factory=dict)

    def change(
        self, job: OpenJob, line: Line, work: WorkSample, reach: Reach, before: int, images: int
    ) -> None:
        """So many images of a line wait instead of `before`. `reach` is as it was for this line so far."""
        entry = StockLine(-work.amount, line.work_key, line.min_class)
        if images and not before:
            self._begin(line.job_id, job, entry, work, reach)
        for totals in (self.jobs[line.job_id].totals, self._totals.setdefault(job.lane, {})):
            _add(totals, (work.model, reach), images - before, work.amount)
        if not self._totals[job.lane]:
            del self._totals[job.lane]
        if before and not images:
            self._end(line.job_id, job, entry, work, reach)

    def lines(self, job_id: str) -> list[Line]:
        """What waits for a job."""
        stock = self.jobs.get(job_id, JobStock())
        return [Line(job_id, key, size) for entries in stock.by_model.values() for _, key, size in entries]

    def place(self, job_id: str, job: OpenJob) -> None:
        """Give a job its turn, if something waits for it."""
        if job_id in self._places:
            lane, rank, turn = self._places.pop(job_id)
            _take(self._turns[lane], rank, turn)
            if not self._turns[lane]:
                del self._turns[lane]
        if job_id in self.jobs:
            rank, turn = (-job.priority, job.owner), Turn(job.service_s, job.submitted_at, job_id)
            self._places[job_id] = job.lane, rank, turn
            insort(self._turns.setdefault(job.lane, {}).setdefault(rank, []), turn)

    def priorities(self, lane: str) -> Iterator[tuple[int, dict[str, list[Turn]]]]:
        """The highest first, each with the turns of its jobs by owner."""
        ranks = self._turns.get(lane, {})
        for rank in sorted({priority for priority, _ in ranks}):
            yield -rank, {owner: turns for (some, owner), turns in ranks.items() if some == rank}

    def holders(self, lane: str, priority: int, loaded: Loaded) -> dict[str, list[Turn]]:
        """The turns of jobs of a priority that have work for just what a node has loaded, by owner."""
        found: dict[str, list[Turn]] = {}
        for job_id in self._holders.get((lane, loaded), ()):
            _, (rank, owner), turn = self._places[job_id]
            if -rank == priority:
                insort(found.setdefault(owner, []), turn)
        return found

    def in_lane(self, lane: str) -> list[str]:
        """The jobs for which something waits."""
        return [turn.job_id for turns in self._turns.get(lane, {}).values() for turn in turns]

    def totals(self, lane: str, reach: Reach) -> Iterator[tuple[str, WaitingTotal]]:
        """What waits in a lane for nodes of a reach, with its model; a model may come more than once."""
        return _within(self._totals.get(lane, {}), reach)

    def limited(self, lane: str, reach: Reach) -> Iterator[tuple[str, Iterator[tuple[str, WaitingTotal]]]]:
        """The same of each job that has a budget."""
        return (
            (job_id, _within(self.jobs[job_id].totals, reach))
            for job_id in sorted(self._limited.get(lane, ()))
        )

    def _begin(self, job_id: str, job: OpenJob, entry: StockLine, work: WorkSample, reach: Reach) -> None:
        self.jobs.setdefault(job_id, JobStock()).add(entry, work, reach)
        self._holders.setdefault((job.lane, work.loads), set()).add(job_id)
        if job_id not in self._places:
            self.place(job_id, job)
            if job.max_cost is not None:
                self._limited.setdefault(job.lane, set()).add(job_id)

    def _end(self, job_id: str, job: OpenJob, entry: StockLine, work: WorkSample, reach: Reach) -> None:
        mine = self.jobs[job_id]
        mine.remove(entry, work, reach)
        if work.loads not in mine.by_loads:
            _discard(self._holders, (job.lane, work.loads), job_id)
        if not mine.by_model:
            del self.jobs[job_id]
            self.place(job_id, job)
            _discard(self._limited, job.lane, job_id)


def _within(totals: Totals, reach: Reach) -> Iterator[tuple[str, WaitingTotal]]:
    return ((model, total) for (model, some), total in totals.items() if some & reach)


def _add(totals: Totals, kind: tuple[str, Reach], images: int, amount: float) -> None:
    known = totals.get(kind, WaitingTotal())
    totals[kind] = WaitingTotal(known.images + images, known.amount + images * round(amount * 1e6))
    if not totals[kind].images:
        del totals[kind]


def _discard(sets: dict[K, set[str]], key: K, one: str) -> None:
    """Take a name out of a set; an empty set goes with it."""
    some = sets.get(key, set())
    some.discard(one)
    if not some:
        sets.pop(key, None)


E = TypeVar("E", StockLine, Turn)


def _take(lists: dict[K, list[E]], key: K, entry: E) -> None:
    """Take an entry off; an empty list goes with it."""
    entries = lists[key]
    del entries[bisect_left(entries, entry)]
    if not entries:
        del lists[key]
