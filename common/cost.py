"""The cost of work, in the farm's currency (`Money.currency`).

One attempt, one model load or one idle period costs

    electricity   (joules of the card + host watts · seconds) / 3.6e6 · tariff per kWh
    hours         seconds · (card per hour | rent per hour) / 3600

The row of an image has the cost of its own attempt and of its storage. The cost per image in reports is the
sum over attempts and loads, including failed and lost ones, divided by the number of images that were kept;
idle time is separate. The terms of a node determine who pays. For an `owned` card, the farm pays
electricity and hours. For a `rented` card, it pays the rent, which includes electricity. For a
`volunteer`'s card, it pays nothing; the electricity that the volunteer pays is recorded separately. A
stored image costs, in addition,

    storage       bytes / 1e9 · (storage per GB and month · months + traffic per GB)

Prices and amounts are exact decimals. Seconds and joules are measurements and therefore floats;
`attempt_cost` converts them to money.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from common.nodes import Card, Terms
from common.settings import Money
from common.units import JOULES_PER_KWH, SECONDS_PER_HOUR

NOTHING = Decimal(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """A cost by purpose. `volunteered` is not part of the farm's own cost."""

    electricity: Decimal = NOTHING
    #: Owning or renting the card.
    hours: Decimal = NOTHING
    #: Electricity paid by volunteers.
    volunteered: Decimal = NOTHING

    @property
    def farm(self) -> Decimal:
        """The amount that the farm itself pays."""
        return self.electricity + self.hours


def attempt_cost(
    *, seconds: float, joules: float, vram_class: int, terms: Terms, rates: Money, at: float | None = None
) -> Cost:
    """Returns the cost of an attempt or a model load of `seconds`, in which the card used `joules`.

    `rates` are those of its node. `at` is when it ended, in seconds since 1970, and determines the tariff;
    None for work to come, which is estimated by the mean tariff of a day.
    """
    electricity = Decimal((joules + rates.host_watts * seconds) / JOULES_PER_KWH) * rates.tariff(at)
    hours = Decimal(seconds / SECONDS_PER_HOUR)
    match terms:
        case "owned":
            return Cost(electricity=electricity, hours=hours * rates.card_hour(vram_class))
        case "rented":
            return Cost(hours=hours * rates.rent_per_hour.get(vram_class, NOTHING))
        case "volunteer":
            return Cost(volunteered=electricity)


def idle_cost(
    *, seconds: float, joules: float, vram_class: int, terms: Terms, rates: Money, at: float | None = None
) -> Cost:
    """Returns the cost of an idle node; 0 for a volunteer, whose machine would be running anyway."""
    if terms == "volunteer":
        return Cost()
    return attempt_cost(
        seconds=seconds, joules=joules, vram_class=vram_class, terms=terms, rates=rates, at=at
    )


def estimated_joules(
    seconds: float, vram_class: int, rates: Money, declared_watts: float | None = None
) -> float:
    """Returns the energy in joules of an unmeasured card, from its declared watts or those of its class."""
    watts = rates.card_watts.get(vram_class, 0.0) if declared_watts is None else declared_watts
    return watts * seconds


def expected_cost(seconds: float, card: Card, terms: Terms, rates: Money) -> Cost:
    """Returns the expected cost of future work of `seconds` on a card."""
    joules = estimated_joules(seconds, card.vram_class, rates, card.watts)
    return attempt_cost(seconds=seconds, joules=joules, vram_class=card.vram_class, terms=terms, rates=rates)
