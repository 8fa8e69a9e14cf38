"""A farm on a clock of its own: the planner that answers claims, and nodes that take as long as it expects.

Discrete events. Nodes claim from a backlog as the ledger lets them (`coordinator.scheduling`), load, render
pass by pass, and claim again; the look-ahead takes back what nodes have not begun, and lets idle nodes
duplicate passes that they finish sooner. No failures, no node that comes or goes, no time for uploads. The
same input gives the same course.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import SpeedMeasured
from coordinator.scheduling.driver import Assignment, Beaten, Decisions, Driver
from coordinator.scheduling.running import RunningBatch

#: Seconds from the end of a batch until its node begins the next one.
HAND_OVER_S = 0.5
#: Seconds without any work in progress after which nobody takes what still waits.
_GIVE_UP_S = 3600.0


class Stint(NamedTuple):
    """What a node did for one batch. Times are seconds on the clock of the simulation."""

    node_id: str
    job_id: str
    work_key: str
    model: str
    loras: tuple[str, ...]
    begin: float
    #: When the node had the files of the model, and when that was loaded; `begin` if it was.
    fetched: float
    loaded: float
    end: float
    images: int


class TooLong(Exception):
    """A simulation was given up, because it takes longer than its caller waits."""


def simulate(
    backlog: Backlog,
    *,
    batch_s: float,
    patience_s: float,
    eco: bool = True,
    now: float = 0.0,
    given_up: Callable[[], bool] = lambda: False,
) -> list[Stint]:
    """What the nodes of a backlog do until its work is done, in the order in which they end.

    Follows the backlog. Times must be known (`untimed`). What nobody takes still waits in it afterwards.
    Grows with batches × log nodes, and with looks ahead × nodes. Raises TooLong once it is `given_up`.
    """
    driver = Driver(backlog, batch_s=batch_s, patience_s=patience_s, eco=eco)
    course = _Course(driver, now)
    course.run(given_up)
    return course.stints


class _Course:
    def __init__(self, driver: Driver, now: float) -> None:
        self._driver, self._backlog = driver, driver.backlog
        self._now = self._worked_at = now
        self._events: list[tuple[float, int, Callable[[str], None], str]] = []
        self._numbers = count()
        #: Busy node to the images of its pass.
        self._passes: dict[str, int] = {}
        #: Busy node to the end of its pass; a pass that was interrupted ends at no other time.
        self._ends: dict[str, float] = {}
        self._stints: dict[str, Stint] = {}
        self.stints: list[Stint] = []
        for node_id, batch in self._backlog.running.items():
            self._go_on(node_id, batch)
        self._ticks = False
        self._tick_later()

    def run(self, given_up: Callable[[], bool]) -> None:
        while self._events:
            if given_up():
                raise TooLong
            self._now, _, happen, node_id = heappop(self._events)
            happen(node_id)

    def _at(self, time: float, happen: Callable[[str], None], node_id: str = "") -> None:
        heappush(self._events, (time, next(self._numbers), happen, node_id))

    def _go_on(self, node_id: str, batch: RunningBatch) -> None:
        """Let a node that is busy at the start end its pass."""
        self._note(node_id, batch)
        self._passes[node_id] = batch.left - batch.not_begun(self._now)
        self._end_pass_at(batch.pass_end(self._now), node_id)

    def _claim(self, node_id: str) -> None:
        self._follow(self._driver.claim(node_id, self._now))

    def _tick(self, _: str) -> None:
        self._ticks = False
        if self._backlog.running or self._now <= self._worked_at + _GIVE_UP_S:
            self._follow(self._driver.tick(self._now))

    def _tick_later(self) -> None:
        """Nodes that wait look for work when the next look ahead is due."""
        if self._driver.has_parked and not self._ticks and (self._backlog.running or self._takeable()):
            self._ticks = True
            self._at(max(self._now, self._driver.due_at), self._tick)

    def _takeable(self) -> bool:
        """Whether some node can take something that waits."""
        jobs = self._backlog.jobs
        return any(self._backlog.takers(jobs[line.job_id].lane, line) for line in self._backlog.lines)

    def _follow(self, decisions: Decisions) -> None:
        for decision in decisions:
            if isinstance(decision, Assignment):
                self._note(*decision)
                self._begin_pass(decision.node_id, decision.batch, decision.batch.since)
            else:
                self._driver.take_back(*decision)
        self._tick_later()

    def _note(self, node_id: str, batch: RunningBatch, fetch_s: float = 0.0) -> None:
        """A node begins a batch."""
        work, loaded = self._backlog.works[batch.work_key], max(self._now, batch.since)
        kept = batch.job_id, batch.work_key, work.model, work.loras
        fetched = self._now + fetch_s
        self._stints[node_id] = Stint(node_id, *kept, self._now, fetched, loaded, self._now, 0)

    def _begin_pass(self, node_id: str, batch: RunningBatch, at: float) -> None:
        assert batch.image_s is not None, batch
        images = self._passes[node_id] = min(batch.left, batch.pass_size)
        self._end_pass_at(at + images * batch.image_s, node_id)

    def _end_pass_at(self, time: float, node_id: str) -> None:
        self._ends[node_id] = time
        self._at(time, self._end_pass, node_id)

    def _end_pass(self, node_id: str) -> None:
        if self._ends.get(node_id) != self._now:
            return
        self._worked_at = self._now
        images = self._passes.pop(node_id)
        beaten = self._driver.advance(node_id, images, self._now)
        batch = self._backlog.running[node_id]
        self._learn(node_id, batch)
        stint = self._stints[node_id]
        self._stints[node_id] = stint._replace(end=self._now, images=stint.images + images)
        if batch.left:
            self._begin_pass(node_id, batch, self._now)
        else:
            self._end_batch(node_id)
        for one in beaten:
            self._lose(one)

    def _lose(self, beaten: Beaten) -> None:
        node_id = beaten.node_id
        self._passes[node_id] = max(0, self._passes[node_id] - beaten.images)
        if not self._passes[node_id]:
            # The node stops at its next step; loading is not interrupted.
            self._end_pass_at(max(self._now, self._backlog.running[node_id].since), node_id)

    def _learn(self, node_id: str, batch: RunningBatch) -> None:
        """After its first pass, a node counts as measured, at what was expected of it."""
        work = self._backlog.works[batch.work_key]
        if batch.image_s is not None and work.model not in self._backlog.known(node_id).speeds:
            shape = self._backlog.shape(batch.work_key, self._backlog.known(node_id).card)
            self._driver.tell(SpeedMeasured(node_id, work.model, batch.image_s / work.amount / shape))

    def _end_batch(self, node_id: str) -> None:
        del self._ends[node_id]
        stint = self._stints.pop(node_id)
        self.stints.append(stint)
        self._driver.end(node_id, stint.end - stint.begin)
        if self._backlog.lines or self._backlog.running:
            self._at(self._now + HAND_OVER_S, self._claim, node_id)
