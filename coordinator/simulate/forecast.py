"""The forecast of a manifest on a farm at work: when its last image is done, behind what waits now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog
from common.cost import NOTHING
from common.settings import Settings
from common.views import BacklogView
from coordinator.estimate.kinds import ImageKind
from coordinator.scheduling.placing import placing
from coordinator.simulate.bound import lower_bound_s
from coordinator.simulate.course import Course, course_of
from coordinator.simulate.deadline import AddedCards
from coordinator.simulate.fleet import FleetNode
from coordinator.simulate.workload import Standing, workload

#: Cards of one kind that are added at the most.
MOST_ADDED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedJob:
    """A manifest that may be submitted to a farm at work."""

    kinds: Sequence[ImageKind]
    nodes: Sequence[FleetNode]
    catalog: Catalog
    settings: Settings
    standing: Standing
    #: What the farm has to do already.
    present: BacklogView

    def course(self, present: BacklogView | None, given_up: Callable[[], bool] = lambda: False) -> Course:
        """Raises Invalid and TooLong as `course_of` does."""
        return course_of(
            self.kinds,
            self.nodes,
            self.catalog,
            self.settings,
            self.standing,
            present=present,
            given_up=given_up,
        )

    def bound_s(self) -> float:
        """Seconds that the order takes at least, whatever else the farm does."""
        place = placing(self.catalog, shared=self.settings.embeddings.shared)
        alone = workload(self.kinds, self.nodes, self.catalog, place, self.standing)
        return lower_bound_s(alone.backlog)

    def with_cards(self, number: int, vram_class: int) -> PlannedJob:
        """The same on a farm with more reference cards of a class."""
        card = REFERENCE_CARDS[vram_class]
        added = [FleetNode(name=f"added {place}", card=card) for place in range(number)]
        return replace(self, nodes=[*self.nodes, *added])


def cheapest_addition(order: PlannedJob, within_s: float) -> AddedCards | None:
    """The cards of one kind with which the order is done within a time, at the lowest price per hour.

    None if no number of reference cards up to `MOST_ADDED` is enough.
    """
    best: AddedCards | None = None
    prices: Mapping[int, Decimal] = order.settings.money.card_per_hour
    for vram_class, card in REFERENCE_CARDS.items():
        price = prices.get(vram_class, NOTHING)
        most = MOST_ADDED
        if best is not None and price:
            # More would be dearer than what is known to be enough.
            most = min(most, int(best.per_hour / price))
        number = _fewest(order, vram_class, most, within_s)
        if number is not None:
            found = AddedCards(card=card.name, cards=number, per_hour=price * number)
            if best is None or (found.per_hour, found.cards) < (best.per_hour, best.cards):
                best = found
    return best


def _fewest(order: PlannedJob, vram_class: int, most: int, within_s: float) -> int | None:
    """The fewest cards of a class that are enough, if at most so many are; by halving, as more help more."""

    def is_enough(number: int) -> bool:
        course = order.with_cards(number, vram_class).course(order.present)
        return not course.work.misfits and course.result.seconds <= within_s

    if most < 1 or order.with_cards(most, vram_class).bound_s() > within_s:
        return None
    low, high = 0, 1
    while not is_enough(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
