"""When a farm at work would be done with a manifest, for `farm submit`, and `farm plan --farm` and `--by`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from math import inf

from common.errors import FarmError
from common.settings import Settings
from common.shot import PlannedShot
from common.units import counted
from common.views import MOST_SHOTS, NodeView
from coordinator.cli.connection import owner_of_jobs
from coordinator.client import FarmClient
from coordinator.estimate import Range
from coordinator.estimate.kinds import ImageKind, count_kinds
from coordinator.simulate.deadline import Deadline, DoneForecast
from coordinator.simulate.fleet import fleet_node
from coordinator.simulate.forecast import PlannedJob, cheapest_addition
from coordinator.simulate.simulation import TooLong
from coordinator.simulate.views import Simulated
from coordinator.simulate.workload import Standing
from coordinator.submission.plan import PlannedManifest, PlanReport


def with_forecast(
    planned: PlannedManifest,
    client: FarmClient,
    nodes: Sequence[NodeView],
    settings: Settings,
    *,
    owner: str | None = None,
    by: float | None = None,
    within_s: float = inf,
) -> PlannedManifest:
    """Returns the plan with time and cost from a simulation of the farm, behind what it has to do.

    `nodes` are those in service, `by` is a deadline in seconds since 1970. If nothing tells how long some
    image takes, if the farm does not answer, or if simulating takes longer than `within_s`, the plan remains
    as it was and says so.
    """
    if not nodes:
        return _without(planned, "no node of the farm is in service")
    try:
        kinds, _ = count_kinds(_not_stored(planned.expansion, client))
        order = _order(planned, kinds, client, nodes, settings, owner)
        end = time.monotonic() + within_s
        result = order.course(order.present, lambda: time.monotonic() > end).result
        alone = order.course(None, lambda: time.monotonic() > end).result if result.images else result
    except TooLong:
        images = f"simulating {counted(planned.report.plan.images, 'image')} takes more than {within_s:g} s"
        return _without(planned, f"{images}; `farm plan --farm` waits for it")
    except FarmError as error:
        return _without(planned, str(error))
    if kinds and not result.images:
        return planned
    now = time.time()
    forecast = DoneForecast(
        done_at=now + result.seconds,
        seconds=result.seconds,
        waits_s=max(0.0, result.seconds - alone.seconds),
        stored=planned.report.plan.images - sum(kind.images for kind in kinds),
    )
    if by is not None:
        forecast = forecast.model_copy(update={"deadline": _deadline(order, result, by, now)})
    return replace(planned, report=_with(planned.report, result, forecast))


def _not_stored(shots: Iterable[PlannedShot], client: FarmClient) -> Iterator[PlannedShot]:
    """The shots of which the farm has no image."""
    rest = iter(shots)
    while some := list(islice(rest, MOST_SHOTS)):
        stored = client.stored([planned.id for planned in some])
        yield from (planned for planned in some if planned.id not in stored)


def _order(
    planned: PlannedManifest,
    kinds: Sequence[ImageKind],
    client: FarmClient,
    nodes: Sequence[NodeView],
    settings: Settings,
    owner: str | None,
) -> PlannedJob:
    manifest = planned.draft.parsed.manifest
    return PlannedJob(
        kinds=kinds,
        nodes=[fleet_node(node) for node in nodes],
        catalog=planned.draft.catalog,
        settings=settings,
        standing=Standing(owner_of_jobs(client, owner) or "", manifest.lane, manifest.priority, manifest.eco),
        present=client.backlog(),
    )


def _deadline(order: PlannedJob, result: Simulated, by: float, now: float) -> Deadline:
    spare_s = by - now - result.seconds
    addition = None if spare_s >= 0 else cheapest_addition(order, by - now)
    return Deadline(at=by, in_time=spare_s >= 0, spare_s=spare_s, addition=addition)


def _without(planned: PlannedManifest, why: str) -> PlannedManifest:
    return replace(planned, report=planned.report.model_copy(update={"no_forecast": why}))


def _with(report: PlanReport, result: Simulated, forecast: DoneForecast) -> PlanReport:
    seconds = result.seconds
    loading = max((card.loading_s / card.nodes for card in result.cards), default=0.0)
    plan = report.plan.model_copy(
        update={
            "seconds": Range[float](low=seconds, high=seconds),
            "loading": Range[float](low=loading, high=loading),
            "cost": Range[Decimal](low=result.cost, high=result.cost),
            "volunteered": Range[Decimal](low=result.volunteered, high=result.volunteered),
        }
    )
    return report.model_copy(update={"plan": plan, "forecast": forecast})
