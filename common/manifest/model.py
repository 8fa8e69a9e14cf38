"""The manifest as written: strict, friendly to hands, everything optional that can have a default.

These types are what a person may type. Files are already inlined when a `Manifest` exists.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoraRef(Strict):
    """`name@0.8`, or `{name: name, weight: 0.8}`."""

    name: str
    weight: float = 1.0


class Seeds(Strict):
    """`4`, `[11, 12]`, or `{start: 100, count: 4, mode: fixed|increment|random}`."""

    #: Explicit seeds; None when `start`, `count` and `mode` say them.
    values: tuple[int, ...] | None = None
    start: int = 0
    count: int = 1
    mode: Literal["fixed", "increment", "random"] = "fixed"

    def __len__(self) -> int:
        return self.count if self.values is None else len(self.values)


class Size(Strict):
    """`832x1216`, or `{aspect: "2:3", megapixels: 1}`; rounded to the model's multiple at expansion."""

    width: int | None = None
    height: int | None = None
    #: (2, 3) for "2:3".
    aspect: tuple[float, float] | None = None
    megapixels: float | None = None


class ShotFields(Strict):
    """What `defaults`, a group and a mapping axis value may set; None means not said here."""

    model: str | None = None
    prompt: str | None = None
    negative: str | None = None
    loras: tuple[LoraRef, ...] = ()
    seeds: Seeds | None = None
    size: Size | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    shift: float | None = None
    blind_steps: int | None = None
    variants: Literal["random", "combinatorial"] | None = None


class Axis(Strict):
    """One axis: its values in order. A value is text, or a mapping of text (and of shot fields)."""

    values: tuple[str | dict[str, Any], ...]
    #: Whether `{a|b}` and `__wildcard__` inside the values expand.
    expand: bool = False


class Group(ShotFields):
    name: str
    axes: dict[str, Axis] = Field(default_factory=dict)
    zip: tuple[tuple[str, ...], ...] = ()
    include: tuple[dict[str, Any], ...] = ()
    exclude: tuple[dict[str, Any], ...] = ()


class Output(Strict):
    format: Literal["png", "webp", "jpeg"] = "png"
    #: None: the format's own default (webp 90, jpeg 92).
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    #: Name pattern; None: unique by construction.
    name: str | None = None
    #: Whether images carry their settings (A1111 infotext and the farm's own JSON).
    metadata: bool = True


class Limits(Strict):
    max_images: Annotated[int, Field(ge=1)] = 10_000
    #: In the farm's currency; None: no limit.
    max_cost: Annotated[float, Field(gt=0)] | None = None


class Manifest(Strict):
    version: Literal[1]
    name: str | None = None
    random_seed: int = 0
    defaults: ShotFields = ShotFields()
    shots: tuple[Group, ...]
    output: Output = Output()
    limits: Limits = Limits()
    use: Literal["commercial", "noncommercial"] = "noncommercial"
    lane: str = "public"
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    #: Wildcard name to its lines.
    wildcards: dict[str, tuple[str, ...]] = Field(default_factory=dict)
