"""The bound: a time that no schedule of a backlog on its nodes can beat, by the planner's own estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import floor, inf
from typing import NamedTuple

import numpy as np

from common.settings import Money
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import expected_pace, fetch_seconds, in_lane, load_seconds, offer
from coordinator.scheduling.work import Line

#: Precision, as a share of the bound.
_PRECISION = 1e-3
#: Seconds after which nothing is worth waiting for.
_NEVER_S = 1e9
_RATES = Money()


class _Rate(NamedTuple):
    """How nodes of one kind take images of one kind."""

    load_s: float
    image_s: float

    def within(self, seconds: float) -> int:
        """Images of one node."""
        return max(0, floor((seconds - self.load_s) / max(self.image_s, 1e-9) + 1e-9))


#: By what images of one kind need of each kind of node; None: it does not take them.
_Needs = Counter[tuple[_Rate | None, ...]]


def lower_bound_s(backlog: Backlog) -> float:
    """Seconds from now on; 0 if nothing waits.

    Every node is free at once, has fetched all models and loses no time between batches. With one kind of
    image it makes whole images; else a linear program shares nodes among models, with a part of each load.
    Images may be cut then, and LoRAs cost nothing.
    """
    crews = Counter(_kind(member) for member in backlog.serving.values())
    examples = {_kind(member): member for member in backlog.serving.values()}
    needs = _needs(backlog, [examples[kind] for kind in crews])
    if not needs:
        return 0.0
    numbers = list(crews.values())

    def enough(seconds: float) -> bool:
        if len(needs) == 1:
            ((rates, images),) = needs.items()
            return _whole(rates, numbers, seconds) >= images
        return _feasible(needs, numbers, seconds)

    return _least(enough)


def _kind(member: Member) -> tuple[object, ...]:
    """Equal for nodes that take the same work in the same time."""
    speeds, loads = sorted(member.speeds.items()), sorted(member.loads.items())
    return (member.card, member.lanes, member.models, member.loaded, tuple(speeds), tuple(loads))


def _needs(backlog: Backlog, nodes: Sequence[Member]) -> _Needs:
    """The images of each kind; work keys that take the same time everywhere are one."""
    rates: dict[tuple[str, str], list[_Rate | None]] = {
        line.lot: [None] * len(nodes) for line in backlog.lines
    }
    for number, node in enumerate(nodes):
        for lane in node.lanes:
            for option in offer(node, lane, backlog, _RATES, 0.0).options:
                rates[option.lot][number] = _Rate(option.load_s - option.fetch_s, option.expected_s or 0.0)
            for line, _ in in_lane(backlog, lane):
                rates[line.lot][number] = rates[line.lot][number] or _once_embedded(backlog, node, line)
    needs: _Needs = Counter()
    for line, images in backlog.lines.items():
        needs[tuple(rates[line.lot])] += images
    return needs


def _once_embedded(backlog: Backlog, node: Member, line: Line) -> _Rate | None:
    """How a node takes what others encode for it; None if it does not."""
    placement, work = backlog.placed_later(node, line), backlog.works[line.work_key]
    if isinstance(placement, str):
        return None
    pace_s = expected_pace(node, work.model, placement, backlog)
    load_s = load_seconds(node, work, placement) - fetch_seconds(node, work.model)
    return _Rate(load_s, (pace_s or 0.0) * work.amount)


def _whole(rates: Sequence[_Rate | None], numbers: Sequence[int], seconds: float) -> int:
    return sum(
        number * rate.within(seconds) for rate, number in zip(rates, numbers, strict=True) if rate is not None
    )


def _feasible(needs: Mapping[tuple[_Rate | None, ...], int], numbers: Sequence[int], seconds: float) -> bool:
    """Whether nodes can make all images within so many seconds, in parts."""
    from scipy.optimize import linprog

    columns = [
        (kind, crew, rate.image_s / (seconds - rate.load_s))
        for kind, rates in enumerate(needs)
        for crew, rate in enumerate(rates)
        if rate is not None and rate.within(seconds)
    ]
    if {kind for kind, _, _ in columns} != set(range(len(needs))):
        return False
    # Nodes of each kind that work, then images of each kind that are missing.
    limits = np.zeros((len(numbers) + len(needs), len(columns)))
    for column, (kind, crew, share) in enumerate(columns):
        limits[crew, column] = share
        limits[len(numbers) + kind, column] = -1.0
    bounds = [*map(float, numbers), *(-float(images) for images in needs.values())]
    answer = linprog(np.zeros(len(columns)), A_ub=limits, b_ub=bounds, bounds=(0, None), method="highs")
    return bool(answer.status == 0)


def _least(enough: Callable[[float], bool]) -> float:
    """The most seconds known not to be enough, close to the least that are."""
    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
        if high > _NEVER_S:
            return inf
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return low
