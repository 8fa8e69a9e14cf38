"""What a whole plan takes: its lines, and loading each model once on every card that works."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from common.catalog import Catalog, Model, Recipe
from common.cost import NOTHING
from common.fit import model_bytes
from common.settings import Money
from coordinator.estimate.lines import Station, work_cost
from coordinator.estimate.views import PlanLine, Take

#: A model is read from a disk of this speed and made ready, by the reference figures.
_LOAD_BYTES_PER_S = 0.5e9
_LOAD_S = 5.0


class CardTime(NamedTuple):
    seconds: float
    #: The farm's bill.
    cost: Decimal
    #: Electricity that volunteers pay.
    volunteered: Decimal

    def plus(self, other: CardTime) -> CardTime:
        return CardTime(
            self.seconds + other.seconds, self.cost + other.cost, self.volunteered + other.volunteered
        )

    def times(self, factor: float) -> CardTime:
        exact = Decimal(factor)
        return CardTime(self.seconds * factor, self.cost * exact, self.volunteered * exact)


_NOTHING = CardTime(0.0, NOTHING, NOTHING)


class Total(NamedTuple):
    #: Everything, loading too.
    all: CardTime
    loading: CardTime


def totals(
    lines: Sequence[PlanLine], catalog: Catalog, stations: Sequence[Station], rates: Money, *, together: bool
) -> tuple[Total, Total] | None:
    """Least and most that the lines take, the same where it is known who works; None without a figure.

    Lines that no card takes count nothing.
    """
    fitting = [line for line in lines if line.vram_class is not None]
    if not all(_priced(line) for line in fitting):
        return None
    loads = _loads(fitting, catalog, stations, rates)
    if together:
        loading = _sum(_all_at_once(each.values()) for each in loads.values())
        total = Total(_sum(_shared(line) for line in fitting).plus(loading), loading)
        return total, total
    return _extreme(min, fitting, loads), _extreme(max, fitting, loads)


def _extreme(choose: Callable[..., Any], lines: Sequence[PlanLine], loads: _Loads) -> Total:
    """The best (or worst) card for each line, in each respect."""
    work = _sum(_each(choose, map(_per_image, _priced(line))).times(line.images) for line in lines)
    loading = _sum(_each(choose, each.values()) for each in loads.values())
    return Total(work.plus(loading), loading)


def _shared(line: PlanLine) -> CardTime:
    """All cards that take the line work on it at once, each as fast as it can."""
    images = [_per_image(take) for take in _priced(line)]
    per_second = sum(1 / image.seconds for image in images)
    return _all_at_once(image.times(1 / (image.seconds * per_second)) for image in images).times(line.images)


def _priced(line: PlanLine) -> list[Take]:
    return [take for take in line.takes if take.seconds is not None]


def _per_image(take: Take) -> CardTime:
    return CardTime(take.seconds or 0.0, take.cost or NOTHING, take.volunteered or NOTHING)


def _each(choose: Callable[..., Any], amounts: Iterable[CardTime]) -> CardTime:
    return CardTime(*(choose(column) for column in zip(*amounts, strict=True)))


def _all_at_once(amounts: Iterable[CardTime]) -> CardTime:
    """Everybody pays, and the slowest is waited for."""
    amounts = list(amounts)
    return _sum(amounts)._replace(seconds=max(amount.seconds for amount in amounts))


def _sum(amounts: Iterable[CardTime]) -> CardTime:
    total = _NOTHING
    for amount in amounts:
        total = total.plus(amount)
    return total


def load_seconds(model: Model, recipe: Recipe) -> float:
    """What reading a model and making it ready takes."""
    return _LOAD_S + model_bytes(model, recipe) / _LOAD_BYTES_PER_S


#: By model, then by number of the station: what loading it takes there.
_Loads = dict[str, dict[int, CardTime]]


def _loads(lines: Sequence[PlanLine], catalog: Catalog, stations: Sequence[Station], rates: Money) -> _Loads:
    """One load of each model on each station that takes a line of it."""
    loads: _Loads = defaultdict(dict)
    for line in lines:
        model = catalog.models[line.model]
        for number, take in enumerate(line.takes):
            if take.recipe:
                seconds = load_seconds(model, model.recipe(take.recipe))
                cost = work_cost(seconds, stations[number], rates)
                loads[line.model][number] = CardTime(seconds, cost.farm, cost.volunteered)
    return loads
