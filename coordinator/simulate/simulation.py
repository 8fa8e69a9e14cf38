"""A farm on a clock of its own: the planner that answers claims, and nodes that take as long as it expects.

Discrete events. Nodes claim from a backlog as the ledger lets them (`coordinator.scheduling`), load, render
pass by pass, and claim again; the look-ahead takes back what nodes have not begun, and lets idle nodes
duplicate passes that they finish sooner. No failures, no node that comes or goes, no time for uploads. The
same input gives the same course.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import NamedTuple

from common.nodes import VRAM_CLASSES
from common.settings import Money
from common.states import NodeState
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import (
    BatchAdvanced,
    BatchEnded,
    BatchLeased,
    BatchTrimmed,
    NodeMoved,
    NodesChanged,
    ShotsTaken,
    ShotsWaiting,
    SpeedMeasured,
)
from coordinator.scheduling.foresight import Foreseen, Foresight
from coordinator.scheduling.horizon import FRESH_S
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import expected_seconds, option_for
from coordinator.scheduling.planner import Option, Selection
from coordinator.scheduling.running import Copy, RunningBatch
from coordinator.scheduling.shortlist import next_work
from coordinator.scheduling.survey import survey
from coordinator.scheduling.work import Amounts, Line

#: Seconds from the end of a batch until its node begins the next one.
HAND_OVER_S = 0.5
#: Seconds between two looks ahead: as on the farm near the end, rarer while the end is far.
_LOOK_EVERY_S, _LOOK_RARELY_S, _LOOKS_AHEAD = 1.0, 30.0, 300
#: Seconds without any work in progress after which nobody takes what still waits.
_GIVE_UP_S = 3600.0
#: The simulation has no budgets.
_RATES = Money()


class Stint(NamedTuple):
    """What a node did for one batch. Times are seconds on the clock of the simulation."""

    node_id: str
    job_id: str
    work_key: str
    model: str
    loras: tuple[str, ...]
    begin: float
    #: When the model was loaded; `begin` if it was.
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
    course = _Course(backlog, batch_s, Foresight(batch_s=batch_s, patience_s=patience_s), now, eco)
    course.run(given_up)
    return course.stints


class _Course:
    def __init__(self, backlog: Backlog, batch_s: float, foresight: Foresight, now: float, eco: bool) -> None:
        self._backlog, self._batch_s, self._foresight, self._eco = backlog, batch_s, foresight, eco
        #: A backlog may forget work keys of which nothing waits.
        self._works = dict(backlog.works)
        self._now = self._worked_at = now
        self._events: list[tuple[float, int, Callable[[str], None], str]] = []
        self._numbers = count()
        #: Nodes that wait for work, in the order of their claims.
        self._parked: dict[str, None] = {}
        #: Busy node to the images of its pass, and to its batch as it began.
        self._passes: dict[str, int] = {}
        #: Busy node to the end of its pass; a pass that was interrupted ends at no other time.
        self._ends: dict[str, float] = {}
        self._stints: dict[str, Stint] = {}
        self.stints: list[Stint] = []
        self._looked_at, self._seen, self._end = -inf, -1, now
        self._looks = False
        for node_id in backlog.serving:
            if node_id in backlog.running:
                self._go_on(node_id, backlog.running[node_id])
            else:
                self._at(now, self._claim, node_id)

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
        work = self._backlog.works[batch.work_key]
        kept = batch.job_id, batch.work_key, work.model, work.loras
        self._stints[node_id] = Stint(node_id, *kept, self._now, max(self._now, batch.since), self._now, 0)
        self._passes[node_id] = batch.left - batch.not_begun(self._now)
        self._end_pass_at(batch.pass_end(self._now), node_id)

    def _claim(self, node_id: str) -> None:
        pause_s = min(self._pause_s, FRESH_S)
        if self._looked_at + pause_s <= self._now and self._seen != self._backlog.version:
            self._look()
        node = self._backlog.known(node_id)
        for lane in sorted(node.lanes):
            if choice := next_work(node, lane, self._backlog, _RATES, self._now, self._batch_s):
                self._lease(node, choice)
                return
        self._parked[node_id] = None
        self._look_later(self._pause_s)

    def _lease(self, node: Member, choice: Selection) -> None:
        option = choice.option
        assert option.expected_s is not None, option
        lines = self._next_lines(node, choice)
        self._begin(node, option, max(line.min_class for line in lines), sum(lines.values()))
        self._backlog.apply(ShotsTaken(lines))

    def _duplicate(self, node: Member, copy: Copy) -> None:
        """Let a node render what another one renders."""
        for other, batch in self._backlog.running.items():
            if batch.id == copy.batch_id:
                line = Line(batch.job_id, batch.work_key, batch.min_class)
                option = option_for(
                    node, line, min(copy.images, self._passes[other]), self._backlog, self._now
                )
                self._begin(node, option, batch.min_class, option.images, duplicates=batch.id)
                return

    def _begin(
        self, node: Member, option: Option, min_class: int, images: int, duplicates: str | None = None
    ) -> None:
        now = self._now
        batch = RunningBatch(
            id=f"{next(self._numbers):09}",
            job_id=option.job_id,
            work_key=option.work_key,
            min_class=min_class,
            left=images,
            pass_size=option.pass_size,
            since=now + option.load_s,
            image_s=option.expected_s,
            loads_model=not option.model_loaded,
            duplicates=duplicates,
        )
        work = self._works[option.work_key]
        self._backlog.apply(BatchLeased(node.id, batch, expected_seconds(option, images), now, 0.0))
        loaded = work.model, frozenset(work.loras)
        self._backlog.apply(NodesChanged({node.id: replace(node, state=NodeState.BUSY, loaded=loaded)}))
        kept = option.job_id, option.work_key, work.model, work.loras
        self._stints[node.id] = Stint(node.id, *kept, now, batch.since, now, 0)
        self._begin_pass(node.id, batch, batch.since)

    def _next_lines(self, node: Member, choice: Selection) -> Amounts:
        """The chosen number of shots, those of the smallest class first."""
        lines: Amounts = {}
        left = choice.images
        for min_class in VRAM_CLASSES:
            line = Line(*choice.option.lot, min_class)
            images = min(left, self._backlog.lines.get(line, 0)) if min_class <= node.vram_class else 0
            if images:
                lines[line] = images
                left -= images
        return lines

    def _begin_pass(self, node_id: str, batch: RunningBatch, at: float) -> None:
        assert batch.image_s is not None
        images = self._passes[node_id] = min(batch.left, batch.pass_size)
        self._end_pass_at(at + images * batch.image_s, node_id)

    def _end_pass_at(self, time: float, node_id: str) -> None:
        self._ends[node_id] = time
        self._at(time, self._end_pass, node_id)

    def _end_pass(self, node_id: str) -> None:
        if self._ends.get(node_id) != self._now:
            return
        batch, images = self._backlog.running[node_id], self._passes.pop(node_id)
        self._worked_at = self._now
        self._backlog.apply(BatchAdvanced(node_id, batch.id, images, self._now))
        self._learn(node_id, batch)
        stint = self._stints[node_id]
        self._stints[node_id] = stint._replace(end=self._now, images=stint.images + images)
        left = self._backlog.running[node_id]
        if left.left:
            self._begin_pass(node_id, left, self._now)
        else:
            self._end_batch(node_id, batch)
        if images and (self._backlog.duplicating or batch.duplicates):
            self._beat(batch, images)

    def _beat(self, first: RunningBatch, images: int) -> None:
        """Take images that a batch has rendered from those that render them as well."""
        for node_id, batch in list(self._backlog.running.items()):
            if batch.id == first.duplicates:
                self._lose(node_id, batch, min(images, self._passes[node_id]))
            elif batch.duplicates == first.id:
                self._lose(node_id, batch, batch.left)

    def _lose(self, node_id: str, batch: RunningBatch, images: int) -> None:
        self._backlog.apply(BatchTrimmed(node_id, batch.id, images, 0.0))
        self._passes[node_id] = max(0, self._passes[node_id] - images)
        if not self._passes[node_id]:
            # The node stops at its next step; loading is not interrupted.
            self._end_pass_at(max(self._now, batch.since), node_id)

    def _learn(self, node_id: str, batch: RunningBatch) -> None:
        """After its first pass, a node counts as measured, at what was expected of it."""
        work = self._works[batch.work_key]
        if batch.image_s is not None and work.model not in self._backlog.known(node_id).speeds:
            self._backlog.apply(SpeedMeasured(node_id, work.model, batch.image_s / work.amount))

    def _end_batch(self, node_id: str, batch: RunningBatch) -> None:
        del self._ends[node_id]
        stint = self._stints.pop(node_id)
        self.stints.append(stint)
        seconds = stint.end - stint.begin
        self._backlog.apply(BatchEnded(batch.id, batch.job_id, node_id, seconds, False))
        self._backlog.apply(NodeMoved(node_id, NodeState.READY))
        if self._backlog.lines or self._backlog.running:
            self._at(self._now + HAND_OVER_S, self._claim, node_id)

    @property
    def _pause_s(self) -> float:
        """Seconds between two looks ahead."""
        return min(_LOOK_RARELY_S, max(_LOOK_EVERY_S, (self._end - self._now) / _LOOKS_AHEAD))

    def _look_later(self, after_s: float) -> None:
        if not self._looks and (self._backlog.running or self._takeable()):
            self._looks = True
            self._at(self._now + after_s, self._look_for_parked)

    def _takeable(self) -> bool:
        """Whether some node can take something that waits."""
        jobs = self._backlog.jobs
        return any(self._backlog.takers(jobs[line.job_id].lane, line) for line in self._backlog.lines)

    def _look_for_parked(self, _: str) -> None:
        """Parked nodes that could finish an image in time look for work."""
        self._looks = False
        if not self._backlog.running and self._now > self._worked_at + _GIVE_UP_S:
            return
        ahead, trimmed = self._look()
        for node_id in [node_id for node_id in self._parked if node_id in ahead.useful]:
            del self._parked[node_id]
            self._claim(node_id)
        for node_id, copy in ahead.copies.items():
            if node_id in self._parked:
                del self._parked[node_id]
                self._duplicate(self._backlog.known(node_id), copy)
        if self._parked:
            self._look_later(HAND_OVER_S if trimmed else self._pause_s)

    def _look(self) -> tuple[Foreseen, bool]:
        """What was found, and whether something was taken back for others."""
        found = survey(self._backlog, self._backlog.version, self._now, self._batch_s, eco=self._eco)
        ahead = self._foresight.look(found)
        self._backlog.horizons = ahead.horizons
        self._looked_at, self._seen = self._now, self._backlog.version
        self._end = max((horizon.end for horizon in ahead.horizons.values()), default=self._now)
        trimmed = [self._trim(node_id, ahead.trims) for node_id in self._passes if ahead.trims]
        return ahead, any(trimmed)

    def _trim(self, node_id: str, less: dict[str, int]) -> bool:
        batch = self._backlog.running[node_id]
        images = min(less.get(batch.id, 0), batch.left - self._passes[node_id])
        if images > 0:
            self._backlog.apply(BatchTrimmed(node_id, batch.id, images, 0.0))
            line = Line(batch.job_id, batch.work_key, batch.min_class)
            self._backlog.apply(ShotsWaiting({line: images}, {line.work_key: self._works[line.work_key]}))
        return images > 0
