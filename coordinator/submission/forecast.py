"""When a farm at work would be done with a manifest, behind what it has to do already."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from math import inf
from typing import Protocol

from common.catalog import Catalog
from common.embeddings import Embedded, texts_key
from common.errors import FarmError
from common.fit import Seen
from common.nodes import Card
from common.settings import Settings
from common.shot import PlannedShot, Shot
from common.units import counted
from common.views import MOST_SHOTS, BacklogView, NodeView, StoredShots
from coordinator.estimate import Range
from coordinator.estimate.kinds import ImageKind, count_kinds
from coordinator.scheduling.placing import Unencoded, placing
from coordinator.simulate.deadline import Deadline, DoneForecast
from coordinator.simulate.fleet import fleet_node
from coordinator.simulate.forecast import PlannedJob, cheapest_addition
from coordinator.simulate.simulation import TooLong
from coordinator.simulate.views import Simulated
from coordinator.simulate.workload import Standing
from coordinator.submission.plan import PlannedManifest, PlanReport


class FarmAtWork(Protocol):
    """What a forecast asks a farm."""

    def stored(self, shot_ids: Sequence[str], texts: Sequence[str]) -> StoredShots:
        """What is stored of up to `MOST_SHOTS` shots and texts of shots."""

    def backlog(self) -> BacklogView:
        """What waits and runs, as the planner sees it."""


def with_forecast(
    planned: PlannedManifest,
    farm: FarmAtWork,
    nodes: Sequence[NodeView],
    settings: Settings,
    *,
    owner: str,
    by: float | None = None,
    within_s: float = inf,
) -> PlannedManifest:
    """Returns the plan with time and cost from a simulation of the farm, behind what it has to do.

    `nodes` are those in service, `by` is a deadline in seconds since 1970. If nothing tells how long some
    image takes, if the farm does not answer, or if simulating takes longer than `within_s`, the plan remains
    as it was and says so.
    """
    if not nodes:
        return without_forecast(planned, "no node of the farm is in service")
    try:
        missing = _Missing(farm, planned.draft.catalog, _cards(nodes), shared=settings.embeddings.shared)
        kinds, _ = count_kinds(missing.of(planned.expansion), missing.embedded.get)
        order = _order(planned, kinds, farm, nodes, settings, owner)
        end = time.monotonic() + within_s
        result = order.course(order.present, lambda: time.monotonic() > end).result
        alone = order.course(None, lambda: time.monotonic() > end).result if result.images else result
    except TooLong:
        images = f"simulating {counted(planned.report.plan.images, 'image')} takes more than {within_s:g} s"
        return without_forecast(planned, f"{images}; `farm plan --farm` waits for it")
    except FarmError as error:
        return without_forecast(planned, str(error))
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


@dataclass(slots=True)
class _Missing:
    """What a farm has not stored of a manifest, and which of it needs no text encoder."""

    farm: FarmAtWork
    catalog: Catalog
    cards: Collection[Card]
    #: Whether nodes share embeddings.
    shared: bool
    #: ID of a shot to how its texts are embedded, of those that were read.
    embedded: dict[str, Embedded] = field(default_factory=dict)
    #: Model and size to whether a card needs embeddings of it.
    _needed: dict[tuple[str, int, int], bool] = field(default_factory=dict)

    def of(self, shots: Iterable[PlannedShot]) -> Iterator[PlannedShot]:
        """The shots without an image."""
        rest = iter(shots)
        while some := list(islice(rest, MOST_SHOTS)):
            texts = {planned.id: self._texts(planned.shot) for planned in some if self._needs(planned.shot)}
            stored = self.farm.stored([planned.id for planned in some], sorted({*texts.values()}))
            images = {*stored.ids}
            for planned in some:
                if planned.id in images:
                    continue
                if encoding := stored.texts.get(texts.get(planned.id, "")):
                    self.embedded[planned.id] = Embedded(*encoding)
                yield planned

    def _texts(self, shot: Shot) -> str:
        return texts_key(shot, self.catalog.models[shot.model].family.guidance_doubles_above)

    def _needs(self, shot: Shot) -> bool:
        """Whether a card takes such shots only if their texts are embedded."""
        alike = shot.model, shot.width, shot.height
        if alike not in self._needed:
            place = placing(self.catalog, shared=self.shared)
            answers = (place(shot, card, Seen()) for card in self.cards)
            self._needed[alike] = any(isinstance(answer, Unencoded) for answer in answers)
        return self._needed[alike]


def _cards(nodes: Sequence[NodeView]) -> set[Card]:
    return {fleet_node(node).card for node in nodes}


def _order(
    planned: PlannedManifest,
    kinds: Sequence[ImageKind],
    farm: FarmAtWork,
    nodes: Sequence[NodeView],
    settings: Settings,
    owner: str,
) -> PlannedJob:
    manifest = planned.draft.parsed.manifest
    return PlannedJob(
        kinds=kinds,
        nodes=[fleet_node(node) for node in nodes],
        catalog=planned.draft.catalog,
        settings=settings,
        standing=Standing(owner, manifest.lane, manifest.priority, manifest.eco),
        present=farm.backlog(),
    )


def _deadline(order: PlannedJob, result: Simulated, by: float, now: float) -> Deadline:
    spare_s = by - now - result.seconds
    addition = None if spare_s >= 0 else cheapest_addition(order, by - now)
    return Deadline(at=by, in_time=spare_s >= 0, spare_s=spare_s, addition=addition)


def without_forecast(planned: PlannedManifest, why: str) -> PlannedManifest:
    """Returns the plan, which says why it leaves out what the farm has to do."""
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
