"""When a farm at work would be done with a manifest, for `farm plan --farm` and `--by`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from common.errors import Invalid
from common.settings import Settings
from common.views import BacklogView
from coordinator.cli.person import default_owner
from coordinator.cli.planning import PlannedManifest, PlanReport
from coordinator.estimate import Range
from coordinator.estimate.kinds import count_kinds
from coordinator.simulate.deadline import Deadline, DoneForecast
from coordinator.simulate.fleet import FleetNode
from coordinator.simulate.forecast import PlannedJob, cheapest_addition
from coordinator.simulate.views import Simulated


@dataclass(frozen=True, slots=True)
class FarmAtWork:
    nodes: Sequence[FleetNode]
    present: BacklogView


def with_forecast(
    planned: PlannedManifest, farm: FarmAtWork, settings: Settings, by: float | None
) -> PlannedManifest:
    """Returns the plan with time and cost from a simulation of the farm, behind what it has to do.

    As it was if nothing tells how long some image takes. `by` is a deadline in seconds since 1970.
    """
    manifest = planned.draft.parsed.manifest
    order = PlannedJob(
        kinds=count_kinds(planned.expansion)[0],
        nodes=farm.nodes,
        catalog=planned.draft.catalog,
        settings=settings,
        owner=default_owner() or "",
        lane=manifest.lane,
        priority=manifest.priority,
        eco=manifest.eco,
        present=farm.present,
    )
    try:
        result, alone = order.course(farm.present).result, order.course(None).result
    except Invalid:
        return planned
    if not result.images:
        return planned
    now = time.time()
    waits_s = max(0.0, result.seconds - alone.seconds)
    forecast = DoneForecast(done_at=now + result.seconds, seconds=result.seconds, waits_s=waits_s)
    if by is not None:
        forecast = forecast.model_copy(update={"deadline": _deadline(order, result, by, now)})
    return replace(planned, report=_with(planned, result, forecast))


def _deadline(order: PlannedJob, result: Simulated, by: float, now: float) -> Deadline:
    spare_s = by - now - result.seconds
    addition = None if spare_s >= 0 else cheapest_addition(order, by - now)
    return Deadline(at=by, in_time=spare_s >= 0, spare_s=spare_s, addition=addition)


def _with(planned: PlannedManifest, result: Simulated, forecast: DoneForecast) -> PlanReport:
    seconds = result.seconds
    loading = max((card.loading_s / card.nodes for card in result.cards), default=0.0)
    plan = planned.report.plan.model_copy(
        update={
            "seconds": Range[float](low=seconds, high=seconds),
            "loading": Range[float](low=loading, high=loading),
            "cost": Range[Decimal](low=result.cost, high=result.cost),
            "volunteered": Range[Decimal](low=result.volunteered, high=result.volunteered),
        }
    )
    return planned.report.model_copy(update={"plan": plan, "forecast": forecast})
