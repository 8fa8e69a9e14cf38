"""The driver: the planner at work on nodes that its caller has, told of in events, without a ledger.

Pure: the caller has the clock, the nodes and the images. The driver keeps the backlog as commits keep that of
a farm, looks ahead when a farm would, and says what nodes begin and what is taken back from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from math import inf
from typing import NamedTuple

from common.nodes import VRAM_CLASSES
from common.settings import Money
from common.states import NodeState
from coordinator.scheduling.ahead import SimulatedErrands
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import (
    BatchAdvanced,
    BatchEnded,
    BatchFound,
    BatchLeased,
    BatchTrimmed,
    Change,
    NodeMoved,
    NodesChanged,
    ShotsTaken,
    ShotsWaiting,
    brings_work,
)
from coordinator.scheduling.foresight import Foreseen, Foresight
from coordinator.scheduling.horizon import FRESH_S
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import expected_seconds, next_fetch, option_for
from coordinator.scheduling.planner import Selection
from coordinator.scheduling.running import Copy, RunningBatch
from coordinator.scheduling.shortlist import next_work
from coordinator.scheduling.survey import survey
from coordinator.scheduling.work import Amounts, Line, WorkSample

#: Seconds between two looks ahead: as on a farm near the end, rarer while the end is far; and after news.
_LOOK_EVERY_S, LOOK_RARELY_S, _LOOKS_AHEAD, _AFTER_NEWS_S = 1.0, 30.0, 300, 0.1
#: There are no budgets.
_RATES = Money()


class Assignment(NamedTuple):
    """A free node begins a batch."""

    node_id: str
    batch: RunningBatch
    #: Seconds at the beginning in which the node only fetches the model.
    fetch_s: float = 0.0


class Fetching(NamedTuple):
    """A model that a node fetches while it renders, once it has fetched what it renders."""

    model: str
    after_s: float


class Trim(NamedTuple):
    """The last images of a batch should be taken back, which its node has not begun (`Driver.take_back`)."""

    node_id: str
    images: int


class Beaten(NamedTuple):
    """Images that a node need not render any more: another one has."""

    node_id: str
    images: int


#: The caller carries out each before it asks for the next.
Decisions = Iterator[Assignment | Trim]


class Driver:
    """Times are seconds on one clock, which never goes back."""

    def __init__(
        self,
        backlog: Backlog,
        *,
        batch_s: float,
        patience_s: float,
        eco: bool = True,
        rarely_s: float = LOOK_RARELY_S,
    ) -> None:
        """Serves the nodes of a backlog; those that are free wait for work.

        `eco` is for jobs that say nothing of it; `rarely_s` are the seconds between two looks at the most.
        """
        self.backlog = backlog
        self._batch_s, self._eco, self._rarely_s = batch_s, eco, rarely_s
        self._foresight = Foresight(batch_s=batch_s, patience_s=patience_s)
        self._numbers = count(1)
        #: Free nodes that wait for work, in the order of their claims.
        self._parked = {node_id: None for node_id in backlog.serving if node_id not in backlog.running}
        self._errands = SimulatedErrands()
        #: Busy node to what it fetches besides.
        self._fetching: dict[str, Fetching] = {}
        #: When it looked last, and at which version; what happened since is news if it brings work.
        self._looked_at, self._seen, self._news = -inf, -1, True
        self._pause_s = 0.0

    @property
    def has_parked(self) -> bool:
        """Whether a free node waits for work."""
        return bool(self._parked)

    @property
    def due_at(self) -> float:
        """When the next look is due."""
        look_at = self._looked_at + (_AFTER_NEWS_S if self._news else self._pause_s)
        return min(look_at, self._errands.due_at)

    def tell(self, *changes: Change) -> None:
        """Something happened that the driver has not decided: jobs, shots, measured times."""
        for change in changes:
            self.backlog.apply(change)
            self._news |= brings_work(change)

    def join(self, node: Member) -> None:
        """A free node has come, and waits for work."""
        self.backlog.apply(NodesChanged({node.id: node}))
        self._parked[node.id] = None
        self._news = True

    def lose(self, node_id: str, seconds: float) -> None:
        """A node is gone after so long a batch, if it had one; the caller tells which shots wait again."""
        if node_id in self.backlog.running:
            self.end(node_id, seconds)
        self._parked.pop(node_id, None)
        self.backlog.apply(NodeMoved(node_id, NodeState.LOST))
        self._news = True

    def claim(self, node_id: str, now: float) -> Decisions:
        """A free node looks for work; if there is none, it waits until `tick` finds some."""
        self.tell(*self._errands.stored(self.backlog, now))
        if self._looked_at + min(self._pause_s, FRESH_S) <= now and self._seen != self.backlog.version:
            yield from self._trims(self._look(now))
        if assigned := self._next(node_id, now):
            yield assigned
        else:
            self._parked[node_id] = None

    def tick(self, now: float) -> Decisions:
        """A look ahead for the nodes that wait, if it is due."""
        if now < self.due_at:
            return
        self.tell(*self._errands.stored(self.backlog, now))
        ahead = self._look(now)
        yield from self._trims(ahead)
        for node_id in [node_id for node_id in self._parked if node_id in ahead.useful]:
            if assigned := self._next(node_id, now):
                yield assigned
        for node_id, copy in ahead.copies.items():
            if node_id in self._parked and (assigned := self._duplicate(node_id, copy, now)):
                yield assigned

    def take_back(self, node_id: str, images: int) -> None:
        """So many images of a node's batch, which it had not begun, wait again."""
        if images:
            batch = self.backlog.running[node_id]
            line, work = Line(batch.job_id, batch.work_key, batch.min_class), self._work_of(batch)
            self.backlog.apply(BatchTrimmed(node_id, batch.id, images, 0.0))
            self.tell(ShotsWaiting({line: images}, {line.work_key: work}))

    def advance(self, node_id: str, images: int, now: float) -> list[Beaten]:
        """A node has rendered images of its batch; returns who renders the same, and need not."""
        first = self.backlog.running[node_id]
        self.backlog.apply(BatchAdvanced(node_id, first.id, images, now))
        beaten = []
        if images and (self.backlog.duplicating or first.duplicates):
            for other, batch in self.backlog.running.items():
                if batch.id == first.duplicates:
                    beaten.append(Beaten(other, min(images, batch.in_pass)))
                elif batch.duplicates == first.id:
                    beaten.append(Beaten(other, batch.left))
        for other, less in beaten:
            self.backlog.apply(BatchTrimmed(other, self.backlog.running[other].id, less, 0.0))
        return beaten

    def end(self, node_id: str, seconds: float) -> None:
        """A node has ended its batch after so long, and is free; it claims when it is ready to."""
        batch = self.backlog.running[node_id]
        self.backlog.apply(BatchEnded(batch.id, batch.job_id, node_id, seconds, brings_work=False))
        node = self.backlog.known(node_id)
        if fetching := self._fetching.pop(node_id, None):
            left_s = node.fetch_s[fetching.model] - max(0.0, seconds - fetching.after_s)
            node = replace(node, fetch_s={**node.fetch_s, fetching.model: max(0.0, left_s)})
        self.backlog.apply(NodesChanged({node_id: replace(node, state=NodeState.READY)}))

    def _look(self, now: float) -> Foreseen:
        found = survey(self.backlog, self.backlog.version, now, self._batch_s, eco=self._eco)
        ahead = self._foresight.look(found)
        self.backlog.horizons = ahead.horizons
        end = max((horizon.end for horizon in ahead.horizons.values()), default=now)
        self._pause_s = min(self._rarely_s, max(_LOOK_EVERY_S, (end - now) / _LOOKS_AHEAD))
        self._looked_at, self._seen, self._news = now, self.backlog.version, False
        return ahead

    def _trims(self, ahead: Foreseen) -> Iterator[Trim]:
        for node_id, batch in list(self.backlog.running.items()) if ahead.trims else ():
            images = min(ahead.trims.get(batch.id, 0), batch.left - batch.in_pass)
            if images > 0:
                yield Trim(node_id, images)

    def _next(self, node_id: str, now: float) -> Assignment | None:
        node = self.backlog.known(node_id)
        for lane in sorted(node.lanes):
            if choice := next_work(node, lane, self.backlog, _RATES, now, self._batch_s):
                lines = self._lines(node, choice)
                min_class, images = max(line.min_class for line in lines), sum(lines.values())
                choice = replace(choice, images=images)
                assigned = self._begin(node, choice, min_class, now)
                self.backlog.apply(ShotsTaken(lines))
                return self._later(assigned, self._errands.begin(self.backlog, node.id, self._batch_s))
        return None

    def _later(self, assigned: Assignment, seconds: float) -> Assignment:
        """The node does something else before it renders."""
        if not seconds:
            return assigned
        batch = replace(assigned.batch, since=assigned.batch.since + seconds)
        self.backlog.apply(BatchFound(assigned.node_id, batch))
        return assigned._replace(batch=batch)

    def _duplicate(self, node_id: str, copy: Copy, now: float) -> Assignment | None:
        """Let a node render what another one renders, if that still does."""
        node = self.backlog.known(node_id)
        for batch in self.backlog.running.values():
            if batch.id == copy.batch_id:
                line = Line(batch.job_id, batch.work_key, batch.min_class)
                option = option_for(node, line, min(copy.images, batch.in_pass), self.backlog, now)
                at_once = min(option.pass_size, option.images)
                choice = Selection(option=option, images=option.images, pass_size=at_once)
                return self._begin(node, choice, batch.min_class, now, duplicates=batch.id)
        return None

    def _lines(self, node: Member, choice: Selection) -> Amounts:
        """The chosen number of shots, those of the smallest class first."""
        lines: Amounts = {}
        left = choice.images
        for min_class in VRAM_CLASSES:
            line = Line(*choice.option.lot, min_class)
            images = min(left, self.backlog.lines.get(line, 0)) if min_class <= node.vram_class else 0
            if images:
                lines[line] = images
                left -= images
        return lines

    def _begin(
        self, node: Member, choice: Selection, min_class: int, now: float, duplicates: str | None = None
    ) -> Assignment:
        option = choice.option
        batch = RunningBatch(
            id=f"{next(self._numbers):09}",
            job_id=option.job_id,
            work_key=option.work_key,
            min_class=min_class,
            left=choice.images,
            pass_size=choice.pass_size,
            since=now + option.load_s,
            image_s=option.expected_s,
            loads_model=not option.model_loaded,
            duplicates=duplicates,
        )
        self.backlog.apply(BatchLeased(node.id, batch, expected_seconds(option, choice.images), now, 0.0))
        if ahead := next_fetch(node, self.backlog.jobs[option.job_id].lane, option.model, self.backlog, now):
            self._fetching[node.id] = Fetching(ahead, option.fetch_s)
        to_fetch = {model: seconds for model, seconds in node.fetch_s.items() if model != option.model}
        loaded = self._work_of(batch).loads
        busy = replace(node, state=NodeState.BUSY, loaded=loaded, fetch_s=to_fetch)
        self.backlog.apply(NodesChanged({node.id: busy}))
        self._parked.pop(node.id, None)
        return Assignment(node.id, batch, option.fetch_s)

    def _work_of(self, batch: RunningBatch) -> WorkSample:
        """Known as long as the batch runs."""
        return self.backlog.works[batch.work_key]
