"""Seconds and money for a manifest's shots, before anything runs.

Figures are those that a node measured where it has, else what the catalog knows of such cards
(`coordinator.estimate.priors`): good to a factor of two, and named as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from common.catalog import Catalog
from common.settings import Money
from common.shot import PlannedShot
from coordinator.estimate.kinds import alike, count_kinds
from coordinator.estimate.lines import MEASURED, Station, plan_line
from coordinator.estimate.priors import pace, plain_pace, prior, shape, text_seconds
from coordinator.estimate.totals import load_seconds, totals
from coordinator.estimate.views import Plan, PlanLine, Range, Take

#: Cards that a basis names at the most.
_MOST_NAMES = 3

__all__ = [
    "MEASURED",
    "Plan",
    "PlanLine",
    "Range",
    "Station",
    "Take",
    "estimate",
    "load_seconds",
    "pace",
    "plain_pace",
    "prior",
    "shape",
    "text_seconds",
]


def estimate(
    shots: Iterable[PlannedShot],
    catalog: Catalog,
    stations: Sequence[Station],
    rates: Money,
    *,
    together: bool,
) -> Plan:
    """What `shots` take on `stations`.

    With `together` the stations share the work by their speed, as the nodes of one farm do; else every
    station stands for itself, and the ranges go from the best to the worst of those that take a line.
    """
    kinds, duplicates = count_kinds(shots)
    lines = [plan_line(each, catalog, stations, rates) for each in alike(kinds, catalog)]
    total = totals(lines, catalog, stations, rates, together=together)

    return Plan(
        lines=tuple(lines),
        together=together,
        images=sum(line.images for line in lines),
        duplicates=duplicates,
        unfit=sum(line.images for line in lines if line.vram_class is None),
        seconds=total and Range[float](low=total[0].all.seconds, high=total[1].all.seconds),
        loading=total and Range[float](low=total[0].loading.seconds, high=total[1].loading.seconds),
        cost=total and Range[Decimal](low=total[0].all.cost, high=total[1].all.cost),
        volunteered=total and Range[Decimal](low=total[0].all.volunteered, high=total[1].all.volunteered),
        currency=rates.currency,
        basis=_basis(take for line in lines for take in line.takes if take.basis),
    )


def _basis(takes: Iterable[Take]) -> str:
    """Returns what the seconds rest on, for few cards with their names: `published for GTX 1070`."""
    cards: dict[str, dict[str, None]] = {}
    for take in takes:
        named = (take.card,) if take.basis == "interpolated" else take.origin
        cards.setdefault(take.basis, {}).update(dict.fromkeys(named))
    few = len({name for names in cards.values() for name in names}) <= _MOST_NAMES
    words = [f"{basis} for {', '.join(names)}" if few and names else basis for basis, names in cards.items()]
    return " and ".join(sorted(words)) + (", good to a factor of two" if any(cards.values()) else "")
