"""One line of a plan: which cards take its shots, how, in what time and for how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.catalog import Catalog, Model
from common.cost import Cost, attempt_cost, estimated_joules
from common.fit import Fit, Misfit, denoiser_runs, fit, peak_bytes
from common.nodes import Card, Terms
from common.settings import Money
from common.shot import Shot
from coordinator.estimate.kinds import ImageKind
from coordinator.estimate.passes import images_in_time
from coordinator.estimate.priors import Prior, pace, plain_pace, prior, shape
from coordinator.estimate.views import PlanLine, Range, Take

MEASURED = "measured on this farm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """A card that may work on the shots."""

    card: Card
    terms: Terms = "owned"
    #: Model to the seconds this card was measured to need for a megapixel-forward of a plain image.
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
        upscaler=shot.upscaler.name if shot.upscaler else "",
        final_width=shot.final_size[0],
        final_height=shot.final_size[1],
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
    known = _estimate(shot, steps, model, found, station)
    seconds = known and known.seconds
    cost = None if seconds is None else work_cost(seconds, station, rates)
    keeping = rates.keeping(shot.expected_bytes)
    images = images_in_time(found.pass_size, seconds)
    return Take(
        card=card.name,
        vram_class=card.vram_class,
        recipe=found.recipe.name,
        peak_bytes=found.peak_bytes,
        pass_size=images,
        pass_peak_bytes=peak_bytes(shot, model, found.recipe, images),
        seconds=seconds,
        cost=cost and cost.farm + keeping,
        volunteered=cost and cost.volunteered,
        basis=known.basis if known else "",
        origin=known.origin if known else (),
        published=known and known.published and Range[float](low=known.published[0], high=known.published[1]),
        source=known.source if known else "",
    )


def _estimate(shot: Shot, steps: float, model: Model, found: Fit, station: Station) -> Prior | None:
    """What the station measured, else what is known of such cards."""
    measured = station.speeds.get(model.name)
    if measured is None:
        return prior(shot, model, found, station.card, steps)
    runs = denoiser_runs(shot, model, steps)
    like = pace(shot._replace(steps=max(1, round(steps))), model, found, station.card)
    seconds = measured * shape(like, plain_pace(model, station.card))
    return Prior(seconds * shot.megapixels * runs, MEASURED)


def work_cost(seconds: float, station: Station, rates: Money) -> Cost:
    card = station.card
    joules = estimated_joules(seconds, card.vram_class, rates, card.watts)
    return attempt_cost(
        seconds=seconds, joules=joules, vram_class=card.vram_class, terms=station.terms, rates=rates
    )
