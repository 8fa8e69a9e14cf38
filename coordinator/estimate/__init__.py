"""Seconds and money for a manifest's shots, before anything runs.

Figures are those a node measured where it has, else the catalog's reference figures for the VRAM class:
good to a factor of two, and named as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from common.catalog import Catalog
from common.settings import Money
from common.shot import PlannedShot
from coordinator.estimate.kinds import alike, count_kinds
from coordinator.estimate.lines import MEASURED, REFERENCE, Station, plan_line, reference_pace
from coordinator.estimate.totals import load_seconds, totals
from coordinator.estimate.views import Plan, PlanLine, Range, Take

__all__ = [
    "MEASURED",
    "REFERENCE",
    "Plan",
    "PlanLine",
    "Range",
    "Station",
    "Take",
    "estimate",
    "load_seconds",
    "reference_pace",
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
        basis=" and ".join(sorted({take.basis for line in lines for take in line.takes if take.basis})),
    )
