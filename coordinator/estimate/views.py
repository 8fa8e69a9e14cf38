"""What an estimate says, as `farm plan --json` prints it. Bytes, seconds, pixels; money in `currency`."""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, field_serializer

from common.units import Amount

Quantity = TypeVar("Quantity", float, Decimal)


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Range(View, Generic[Quantity]):
    """Of a plan, low equals high where it is known which cards work."""

    low: Quantity
    high: Quantity

    @field_serializer("low", "high", when_used="json")
    def _as_number(self, end: Quantity) -> float:
        return float(end)


class Take(View):
    """What one card makes of a line of the plan. Seconds and cost are for one image."""

    card: str
    vram_class: int
    #: None: the card does not take it, and `reason` says why.
    recipe: str | None = None
    reason: str = ""
    #: Predicted, with one image in the pass.
    peak_bytes: int | None = None
    #: Most images of a pass, and what is predicted then.
    pass_size: int | None = None
    pass_peak_bytes: int | None = None
    #: Text encoding, denoising, decoding, transfers. None: nothing was measured, the catalog has no times.
    seconds: float | None = None
    #: Rendering it, and keeping it in the store.
    cost: Amount | None = None
    #: What a volunteer pays.
    volunteered: Amount | None = None
    #: What the seconds rest on: `measured on this farm`; `measured`, `published` or `estimated` for the cards
    #: in `origin`; `interpolated` from them; otherwise a sentence.
    basis: str = ""
    origin: tuple[str, ...] = ()
    #: Seconds that others published for such an image on such a card, and who did.
    published: Range[float] | None = None
    source: str = ""


class PlanLine(View):
    """Shots of one group that fit the same cards in the same way."""

    group: str
    model: str
    #: As rendered.
    width: int
    height: int
    #: Name of the upscaler that enlarges them; empty if there is none. And the size that it makes.
    upscaler: str = ""
    final_width: int
    final_height: int
    steps_low: int
    steps_high: int
    guidance_low: float
    guidance_high: float
    loras: int
    lora_sets: int
    images: int
    #: Models and LoRAs of these shots whose files the catalog does not fix.
    unidentified: tuple[str, ...]
    #: Smallest class of the cards that take it; None: no card does.
    vram_class: int | None
    #: What stands in the way where no card takes it.
    reason: str = ""
    takes: tuple[Take, ...]


class Plan(View):
    """Everything `estimate` says. Cost and seconds include loading each model once."""

    lines: tuple[PlanLine, ...]
    #: Whether the cards share the work; else each stands for itself.
    together: bool
    #: Shots to render; a shot that several groups ask for counts once.
    images: int
    duplicates: int
    #: Shots that no card takes.
    unfit: int
    #: Wall time; None where a figure is missing.
    seconds: Range[float] | None
    #: The part of `seconds` in which models are loaded.
    loading: Range[float] | None
    #: The farm's bill, in `currency`.
    cost: Range[Decimal] | None
    #: Electricity that volunteers pay.
    volunteered: Range[Decimal] | None
    currency: str
    basis: str
