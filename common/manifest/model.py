"""The types of a parsed manifest: strict, with defaults for everything optional.

They are the normalised form of what users write: alternative forms are resolved, files and wildcards are
inlined, and numbers are within bounds. `common.manifest.parse` builds them and reports errors with positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.exports import BORDER, Crop, Export


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoraRef(Strict):
    """`name@0.8`, `name@0.8/0.5`, or `{name: name, weight: 0.8, text_weight: 0.5}`."""

    name: str
    weight: float = 1.0
    #: That for the text encoders; None: the same.
    text_weight: float | None = None


class Seeds(Strict):
    """`4`, `[11, 12]`, or `{start: 100, count: 4, mode: fixed|increment|random}`."""

    #: Explicit seeds; None if `start`, `count` and `mode` apply.
    values: tuple[int, ...] | None = None
    start: int = 0
    count: int = 1
    mode: Literal["fixed", "increment", "random"] = "fixed"

    def __len__(self) -> int:
        return self.count if self.values is None else len(self.values)


class Size(Strict):
    """`832x1216`, or `{aspect: "2:3", megapixels: 1}`; expansion rounds it to the model's multiple."""

    width: int | None = None
    height: int | None = None
    #: (2, 3) for "2:3".
    aspect: tuple[float, float] | None = None
    megapixels: float | None = None


class ShotFields(Strict):
    """Fields that `defaults`, a group or a mapping axis value may set; None if not set here."""

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
    clip_skip: int | None = None
    #: Name of an upscaler; `none` for none.
    upscale: str | None = None
    variants: Literal["random", "combinatorial"] | None = None
    #: Whether shots may have an empty prompt.
    allow_empty: bool | None = None
    #: Presets used by this place; its own fields override them.
    preset: tuple[str, ...] = ()
    #: First seed of the shots with this axis value; overrides the start of `seeds`.
    seed: int | None = None


#: What `{axis}` reads: a text as spelled in the source, or texts by field for `{axis.field}`.
Spelling = str | dict[str, str]

NOTHING = ShotFields()


class Axis(Strict):
    """One axis with its values in order: the text of each, and the fields that each sets.

    `steps: [10, 20]` has the values ("10", "20") and sets (ShotFields(steps=10), ShotFields(steps=20)). A
    mapping value `{name: ana, loras: [ana_v2@0.8]}` is {"name": "ana", "loras": "ana_v2@0.8"} and sets the
    LoRA.
    """

    values: tuple[Spelling, ...]
    #: Same length as `values`, with `NOTHING` for values that set no field; empty if no value sets one.
    sets: tuple[ShotFields, ...] = ()
    #: Whether `{a|b}` and `__wildcard__` in the values are evaluated.
    expand: bool = False


class Output(Strict):
    format: Literal["png", "webp", "jpeg"] = "png"
    #: None for the default of the format (webp 90, jpeg 92).
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    #: Name pattern; None for the default, which is always unique.
    name: str | None = None
    #: Whether images contain their settings (A1111 infotext and the farm's own JSON).
    metadata: bool = True
    #: The files of each image; empty for the image as it was rendered.
    sizes: tuple[Export, ...] = ()
    crop: Crop = "smart"
    background: str = BORDER

    @property
    def exports(self) -> tuple[Export, ...]:
        """`sizes`, each with the crop and background that apply to it."""
        own = [(each, each.crop or self.crop, each.background or self.background) for each in self.sizes]
        return tuple(each.model_copy(update={"crop": c, "background": b}) for each, c, b in own)


class Group(ShotFields):
    name: str
    #: Keys that override the manifest's `output`; None for the others.
    output: Output | None = None
    axes: dict[str, Axis] = Field(default_factory=dict)
    zip: tuple[tuple[str, ...], ...] = ()
    #: Additional or extended combinations, as in CI matrices; keys are axes, `axis.field` or new names.
    include: tuple[dict[str, Spelling], ...] = ()
    #: Same length as `include`: the shot fields that each entry sets.
    include_sets: tuple[ShotFields, ...] = ()
    #: Keys are `axis` or `axis.field`; combinations that match all texts of an entry are removed.
    exclude: tuple[dict[str, str], ...] = ()

    def factors(self) -> Iterator[tuple[str, ...]]:
        """Yields the axes of each factor of the product; a zip has the position of its first axis."""
        zips = {axis: names for names in self.zip for axis in names}
        done: set[str] = set()
        for axis in self.axes:
            if axis not in done:
                names = zips.get(axis, (axis,))
                done.update(names)
                yield names


class Limits(Strict):
    max_images: Annotated[int, Field(ge=1)] = 10_000
    #: In the farm's currency; None for no limit.
    max_cost: Annotated[Decimal, Field(gt=0)] | None = None


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
    #: None: as the farm is set.
    eco: bool | None = None
    presets: dict[str, ShotFields] = Field(default_factory=dict)
    #: Wildcard name to its lines.
    wildcards: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def output_of(self, group: Group) -> Output:
        """Returns the output of a group: its own keys, otherwise those of the manifest."""
        own = group.output
        if own is None:
            return self.output
        return self.output.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})

    def seeds_of(self, group: Group) -> Seeds:
        return group.seeds or self.defaults.seeds or Seeds()

    def multiplies(self, group: Group) -> bool:
        """Returns whether each variant is a separate shot; otherwise one is chosen for each shot."""
        return (group.variants or self.defaults.variants) == "combinatorial"

    def allows_empty(self, group: Group) -> bool:
        """Returns whether shots of a group may have an empty prompt."""
        own = group.allow_empty
        return bool(self.defaults.allow_empty if own is None else own)

    @property
    def names_files(self) -> bool:
        """Whether a user-defined pattern names the files, so that names may collide."""
        return any(self.output_of(group).name is not None for group in self.shots)
