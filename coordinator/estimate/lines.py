"""One line of a plan: which cards take its shots, how, in what time and for how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.catalog import Catalog, Model
from common.cost import Cost, attempt_cost, estimated_joules
from common.fit import Misfit, fit, forwards_per_step
from common.nodes import Card, Terms
from common.settings import Money
from common.shot import Shot
from coordinator.estimate.kinds import ImageKind
from coordinator.estimate.views import PlanLine, Take

MEASURED = "measured on this farm"
REFERENCE = "reference estimate, good to a factor of two"


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """A card that may work on the shots."""

    card: Card
    terms: Terms = "owned"
    #: Model to the seconds this card was measured to need for a megapixel-forward.
    speeds: Mapping[str, float] = field(default_factory=dict)


def plan_line(
    kinds: Sequence[ImageKind], catalog: Catalog, stations: Sequence[Station], rates: Money
) -> PlanLine:
    shot = kinds[0].example.shot
    images = sum(kind.images for kind in kinds)
    steps = sum(kind.images * kind.example.shot.steps for kind in kinds) / images
    model = catalog.models[shot.model]
    takes = tuple(_take(shot, steps, model, station, rates) for station in stations)
    fitting = [take.vram_class for take in takes if take.recipe]
    largest = max(takes, key=lambda take: take.vram_class, default=None)
    return PlanLine(
        group=kinds[0].example.group,
        model=model.name,
        width=shot.width,
        height=shot.height,
        steps_low=min(kind.example.shot.steps for kind in kinds),
        steps_high=max(kind.example.shot.steps for kind in kinds),
        guidance_low=min(kind.example.shot.guidance for kind in kinds),
        guidance_high=max(kind.example.shot.guidance for kind in kinds),
        loras=len(shot.loras),
        lora_sets=len({kind.example.shot.loras for kind in kinds if kind.example.shot.loras}),
        images=images,
        unidentified=tuple(sorted({name for kind in kinds for name in _unidentified(kind.example.shot)})),
        vram_class=min(fitting, default=None),
        reason="" if fitting else largest.reason if largest else "there is no card to plan for",
        takes=takes,
    )


def _unidentified(shot: Shot) -> list[str]:
    loras = [use.name for use in shot.loras if not use.identity]
    return loras if shot.model_identity else [shot.model, *loras]


def _take(shot: Shot, steps: float, model: Model, station: Station, rates: Money) -> Take:
    card = station.card
    found = fit(shot, model, card)
    if isinstance(found, Misfit):
        return Take(card=card.name, vram_class=card.vram_class, reason=found.reason)
    pace, basis = _pace(shot, model, station)
    forwards = steps * forwards_per_step(shot, model)
    seconds = None if pace is None else pace * shot.megapixels * forwards
    cost = None if seconds is None else work_cost(seconds, station, rates)
    return Take(
        card=card.name,
        vram_class=card.vram_class,
        recipe=found.recipe.name,
        peak_bytes=found.peak_bytes,
        pass_size=found.pass_size,
        pass_peak_bytes=found.pass_peak_bytes,
        seconds=seconds,
        cost=cost and cost.farm,
        volunteered=cost and cost.volunteered,
        basis=basis,
    )


def _pace(shot: Shot, model: Model, station: Station) -> tuple[float | None, str]:
    """Seconds for a megapixel-forward, and where they come from."""
    measured = station.speeds.get(model.name)
    if measured is not None:
        return measured, MEASURED
    pace = reference_pace(model, station.card)
    return (None, "") if pace is None else (pace, model.reference_basis or REFERENCE)


def reference_pace(model: Model, card: Card) -> float | None:
    """Seconds for a megapixel-forward by the catalog's figures, those of the nearest class; None without."""
    vram_class = card.vram_class
    known = sorted(model.reference_seconds, key=lambda known: (known > vram_class, abs(known - vram_class)))
    return model.reference_seconds[known[0]] if known else None


def work_cost(seconds: float, station: Station, rates: Money) -> Cost:
    card = station.card
    joules = estimated_joules(seconds, card.vram_class, rates, card.watts)
    return attempt_cost(
        seconds=seconds, joules=joules, vram_class=card.vram_class, terms=station.terms, rates=rates
    )
