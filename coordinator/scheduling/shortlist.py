"""The shortlist: of all that a node could take, the little among which the planner's choice is.

A claim looks at few jobs, in the order of their turns, and at few lines of each: the first of each kind that
passes. What is left out could not be chosen, so the choice is the same as among all that waits (`offer`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import fsum, inf

from common.settings import Money
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.horizon import Outlook
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import affordable, cost_of, offer, option_of, outlook_for
from coordinator.scheduling.peers import Reach
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.planner import (
    AFFINITY_BATCHES,
    Option,
    Selection,
    choose,
    delays,
    is_late,
    share_seconds,
)
from coordinator.scheduling.stock import StockLine, Turn, WaitingTotal
from coordinator.scheduling.work import Lot

_Test = Callable[[Option], bool]


def next_work(
    member: Member,
    lane: str,
    backlog: Backlog,
    rates: Money,
    now: float,
    batch_s: float,
    without: Set[Lot] = frozenset(),
) -> Selection | None:
    """The planner's choice for a node from what waits in a lane, except for some lots."""
    if backlog.held_back(member):
        return None
    peers = backlog.peers.of(member.id)
    if peers is None:
        # It comes back with this claim.
        found = offer(member, lane, backlog, rates, now)
        return choose(
            [one for one in found.options if one.lot not in without], batch_s=batch_s, outlook=found.outlook
        )
    outlook = outlook_for(member, lane, backlog, now)
    look = _Look(member, peers.bit, backlog, rates, now, batch_s, outlook, without)
    left_s = partial(look.left_seconds, lane)
    return choose(look.options(lane), batch_s=batch_s, outlook=outlook, left_s=left_s)


@dataclass(slots=True)
class _Look:
    """One node's look at what waits in a lane."""

    member: Member
    reach: Reach
    backlog: Backlog
    rates: Money
    now: float
    batch_s: float
    outlook: Outlook
    without: Set[Lot]
    _known: dict[Lot, Option | None] = field(default_factory=dict)

    def options(self, lane: str) -> list[Option]:
        """The options of the job that is next in turn, and of those that go before it for what is loaded.

        If nothing ends in time, those of all jobs. A job for whose texts others wait goes before all, on one
        node with a text encoder.
        """
        for job_id in sorted(self.outlook.due):
            if due := self._due(lane, job_id):
                return due
        found = dict[Lot, Option]()
        for priority, owners in self.backlog.stock.priorities(lane):
            if self._of_priority(lane, priority, owners, found):
                break
        return list(found.values())

    def _due(self, lane: str, job_id: str) -> list[Option]:
        """What this node takes of a job so that its texts are encoded; nothing while another one does."""
        job = self.backlog.jobs.get(job_id)
        if job is None or job.lane != lane or job_id not in self.backlog.stock.jobs:
            return []
        if self.backlog.has_batch(job_id) or self.member.terms == "volunteer":
            return []
        return [one for one in self._of_job(job_id).values() if self._encodes(one)]

    def _encodes(self, option: Option) -> bool:
        """Whether the node encodes the texts of such shots, and others of their job beside."""
        placement = self.backlog.placement(option.work_key, self.member.card)
        return isinstance(placement, Placement) and placement.encoder is not None

    def _of_priority(
        self, lane: str, priority: int, owners: Mapping[str, list[Turn]], found: dict[Lot, Option]
    ) -> bool:
        """Add what is next of jobs that compete; returns whether any of it ends in time."""
        usage, ahead_s = self.backlog.usage, AFFINITY_BATCHES * self.batch_s
        holders = cache(partial(self.backlog.stock.holders, lane, priority, self.member.loaded))
        #: The rank of the best owner so far (`choose`): what it had, and when its next job came.
        best: tuple[float, float] | None = None
        for owner_s, owner in sorted((usage.of(owner, self.now), owner) for owner in owners):
            if best:
                if owner_s - ahead_s > best[0]:
                    break
                least_s = owner_s - (ahead_s if owner in holders() else 0.0)
                if least_s > best[0] or (least_s == best[0] and _first_came(owners[owner]) > best[1]):
                    continue
            some = self._next(owners[owner], found)
            if some and not any(one.loaded for one in some):
                some += self._next(holders().get(owner, ()), found, loaded=True)
            if some:
                had_s = owner_s - (ahead_s if any(one.loaded for one in some) else 0.0)
                rank = had_s, max(one.submitted_at for one in some)
                best = rank if best is None else min(best, rank)
        return best is not None

    def _next(self, turns: Sequence[Turn], found: dict[Lot, Option], *, loaded: bool = False) -> list[Option]:
        """What ends in time of the first job of which something does; with `loaded`, something loaded."""
        for turn in turns:
            if not self.backlog.may_take(self.member, self.backlog.jobs[turn.job_id]):
                continue
            some = self._of_job(turn.job_id)
            found |= some
            in_time = [one for one in some.values() if not self._delays(one)]
            if any(one.loaded for one in in_time) if loaded else in_time:
                return in_time
        return []

    def _of_job(self, job_id: str) -> dict[Lot, Option]:
        """The best of each model and reach, and of what is loaded."""
        stock, best = self.backlog.stock.jobs[job_id], dict[Lot, Option]()
        kinds = [(reach, entries) for (_, reach), entries in stock.by_model.items()]
        kinds += stock.by_loads.get(self.member.loaded, {}).items()
        for reach, entries in kinds:
            if reach & self.reach:
                best |= {one.lot: one for one in self._best(job_id, entries)}
        return best

    def left_seconds(self, lane: str, image_s: float) -> float:
        """What the node would need for all that it can take, with `image_s` for an image of unknown speed."""
        stock, second = self.backlog.stock, cost_of(self.member, 1.0, self.rates)
        left_s = self._seconds(stock.totals(lane, self.reach), image_s)
        for job_id, totals in stock.limited(lane, self.reach):
            its_s = self._seconds(totals, image_s)
            can_pay_s = max(0.0, self.backlog.jobs[job_id].room) / second if second else inf
            left_s -= max(0.0, its_s - can_pay_s)
        return left_s

    def _seconds(self, totals: Iterable[tuple[str, WaitingTotal]], image_s: float) -> float:
        speeds = self.member.speeds
        return fsum(
            speeds[model] * total.amount / 1e6 if model in speeds else total.images * image_s
            for model, total in totals
        )

    def _best(self, job_id: str, entries: Sequence[StockLine]) -> Iterator[Option]:
        if self.outlook.wastes(job_id, self.backlog.works[entries[0].work_key].model):
            return
        first = self._first(job_id, entries, self._is_possible)
        if first is None:
            return
        yield first
        tests: list[_Test] = [] if not self._delays(first) else [self._is_in_time]
        if self.outlook.shares.get(first.model):
            tests += [self._has_share, lambda one: self._has_share(one) and self._is_in_time(one)]
        for test in tests:
            if one := self._first(job_id, entries, test):
                yield one

    def _first(self, job_id: str, entries: Sequence[StockLine], test: _Test) -> Option | None:
        """The first that passes."""

        def passes(entry: StockLine) -> bool:
            option = self._option(job_id, entry)
            return option is not None and test(option)

        if passes(entries[0]):
            return self._option(job_id, entries[0])
        if self.without or not self._is_measured(self.backlog.works[entries[0].work_key].model):
            found = next(filter(passes, entries), None)
        else:
            # What is less work than one that passes does so, too.
            found = entries[bisect_left(entries, True, key=passes)] if passes(entries[-1]) else None
        return found and self._option(job_id, found)

    def _is_measured(self, model: str) -> bool:
        """Whether the time until the first image grows with its amount of work."""
        member = self.member
        return model in member.speeds and (model == member.loaded[0] or model in member.loads)

    def _option(self, job_id: str, entry: StockLine) -> Option | None:
        """All of a lot that the node can take and its job can pay; None if there is nothing."""
        lot = job_id, entry.work_key
        if lot not in self._known:
            self._known[lot] = None if lot in self.without else self._worked_out(lot)
        return self._known[lot]

    def _worked_out(self, lot: Lot) -> Option | None:
        option = option_of(self.member, lot, self.backlog, self.now)
        payable = affordable(self.member, option, self.backlog.jobs[option.job_id], self.rates)
        return replace(option, images=payable) if payable else None

    def _is_possible(self, option: Option) -> bool:
        return not is_late(option, self.outlook, self.batch_s)

    def _delays(self, option: Option) -> bool:
        return delays(option, self.outlook, self.batch_s)

    def _is_in_time(self, option: Option) -> bool:
        return self._is_possible(option) and not self._delays(option)

    def _has_share(self, option: Option) -> bool:
        return self._is_possible(option) and share_seconds(option, self.outlook) > 0


def _first_came(turns: Sequence[Turn]) -> float:
    return min(turn.submitted_at for turn in turns)
