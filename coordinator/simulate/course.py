"""The course of a manifest on a fleet: what the simulation makes of it, in time, energy and money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.catalog import Catalog
from common.errors import Invalid
from common.settings import Settings
from common.views import BacklogView
from coordinator.estimate.kinds import ImageKind
from coordinator.scheduling.placing import placing
from coordinator.simulate.bound import lower_bound_s
from coordinator.simulate.fleet import FleetNode
from coordinator.simulate.simulation import simulate
from coordinator.simulate.views import Simulated, simulated
from coordinator.simulate.workload import JOB, Standing, Workload, untimed, workload


@dataclass(frozen=True, slots=True)
class Course:
    work: Workload
    #: Of the job alone, whatever else the fleet does.
    result: Simulated


def course_of(
    kinds: Sequence[ImageKind],
    nodes: Sequence[FleetNode],
    catalog: Catalog,
    settings: Settings,
    standing: Standing,
    *,
    present: BacklogView | None = None,
    given_up: Callable[[], bool] = lambda: False,
) -> Course:
    """Simulates one job, behind what a farm has at `present`.

    Raises Invalid if nothing tells how long a card takes for some image, TooLong once it is `given_up`.
    """
    place = placing(catalog, shared=settings.embeddings.shared)
    work = workload(kinds, nodes, catalog, place, standing, present)
    if unknown := untimed(work.backlog):
        model, card = min(unknown)
        raise Invalid(
            f"nothing tells how long {model} takes on {card}: add `speeds` to its entry in the catalog, "
            "or let a node of a running farm render it once"
        )
    bound_s, timing = lower_bound_s(work.backlog), settings.timing
    stints = simulate(
        work.backlog,
        batch_s=timing.batch_s,
        patience_s=2 * timing.heartbeat_s,
        eco=settings.eco,
        given_up=given_up,
    )
    own = [stint for stint in stints if stint.job_id == JOB]
    return Course(work, simulated(own, nodes, bound_s, settings.money))
