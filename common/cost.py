"""What work costs, in the farm's currency (`Money.currency`).

One attempt, one model load or one stretch of idling costs

    electricity   (joules of the card + host watts · seconds) / 3.6e6 · tariff per kWh
    hours         seconds · (card per hour | rent per hour) / 3600

and an image costs the sum over all of them, failed ones too, divided by the accepted images.
The terms of the node say who pays: the farm pays an `owned` card's electricity and its hours, of a
`rented` one the rent, which includes electricity, and of a `volunteer`'s nothing; what the volunteer
pays for electricity is told apart.

Prices and amounts are exact decimals. Seconds and joules are measured, so they are floats; `attempt_cost`
is where they become money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from common.nodes import Card, Terms
from common.settings import Money
from common.units import JOULES_PER_KWH, SECONDS_PER_HOUR

NOTHING = Decimal(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """What electricity and hours cost; tables are by VRAM class."""

    currency: str
    tariff_per_kwh: Decimal
    #: Drawn by the rest of the machine while its card is at the farm's disposal.
    host_watts: float
    card_per_hour: Mapping[int, Decimal]
    rent_per_hour: Mapping[int, Decimal] = field(default_factory=dict)
    #: Assumed where nothing measures or declares a card's watts.
    card_watts: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, money: Money) -> Rates:
        return cls(
            currency=money.currency,
            tariff_per_kwh=money.tariff_per_kwh,
            host_watts=money.host_watts,
            card_per_hour=money.card_per_hour,
            rent_per_hour=money.rent_per_hour,
            card_watts=money.card_watts,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """An amount by what it pays for; `volunteered` is on no bill of the farm."""

    electricity: Decimal = NOTHING
    #: Owning or renting the card.
    hours: Decimal = NOTHING
    #: Electricity that volunteers pay.
    volunteered: Decimal = NOTHING

    @property
    def farm(self) -> Decimal:
        """The farm's own bill."""
        return self.electricity + self.hours


def attempt_cost(*, seconds: float, joules: float, vram_class: int, terms: Terms, rates: Rates) -> Cost:
    """Cost of `seconds` in which the card took `joules`: of an attempt, or of loading a model for a batch."""
    electricity = Decimal((joules + rates.host_watts * seconds) / JOULES_PER_KWH) * rates.tariff_per_kwh
    hours = Decimal(seconds / SECONDS_PER_HOUR)
    match terms:
        case "owned":
            return Cost(electricity=electricity, hours=hours * rates.card_per_hour.get(vram_class, NOTHING))
        case "rented":
            return Cost(hours=hours * rates.rent_per_hour.get(vram_class, NOTHING))
        case "volunteer":
            return Cost(volunteered=electricity)


def idle_cost(*, seconds: float, joules: float, vram_class: int, terms: Terms, rates: Rates) -> Cost:
    """Cost of a node that waits for work. A volunteer's machine would be on anyway: nothing."""
    if terms == "volunteer":
        return Cost()
    return attempt_cost(seconds=seconds, joules=joules, vram_class=vram_class, terms=terms, rates=rates)


def estimated_joules(
    seconds: float, vram_class: int, rates: Rates, declared_watts: float | None = None
) -> float:
    """Energy of a card that nothing measures: its declared watts, else those assumed for its class."""
    watts = rates.card_watts.get(vram_class, 0.0) if declared_watts is None else declared_watts
    return watts * seconds


def expected_cost(seconds: float, card: Card, terms: Terms, rates: Rates) -> Cost:
    """Cost of `seconds` of work that a card has yet to do."""
    joules = estimated_joules(seconds, card.vram_class, rates, card.watts)
    return attempt_cost(seconds=seconds, joules=joules, vram_class=card.vram_class, terms=terms, rates=rates)
