"""The manifest as written: strict, friendly to hands, everything optional that can have a default.

These types are the normalised form of what a person may type: friendly forms resolved, files and wildcards
inlined, numbers within sane bounds. `common.manifest.parse` makes them and says what is wrong where.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Literal

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
    #: Whether shots may have an empty prompt.
    allow_empty: bool | None = None
    #: Presets that the place takes on; what it says itself goes over them.
    preset: tuple[str, ...] = ()
    #: First seed of the shots of one axis value, in place of that of `seeds`.
    seed: int | None = None


#: What `{axis}` reads: a text in its source spelling, or texts by field for `{axis.field}`.
Spelling = str | dict[str, str]

NOTHING = ShotFields()


class Axis(Strict):
    """One axis: its values in order, as spelled and as what each of them sets.

    `steps: [10, 20]` has the values ("10", "20") and sets (ShotFields(steps=10), ShotFields(steps=20));
    a mapping value `{name: ana, loras: [ana_v2@0.8]}` is {"name": "ana", "loras": "ana_v2@0.8"} and sets
    the LoRA.
    """

    values: tuple[Spelling, ...]
    #: As long as `values`, with `NOTHING` for those that set no shot field; empty if none does.
    sets: tuple[ShotFields, ...] = ()
    #: Whether `{a|b}` and `__wildcard__` inside the values expand.
    expand: bool = False


class Output(Strict):
    format: Literal["png", "webp", "jpeg"] = "png"
    #: None: the format's own default (webp 90, jpeg 92).
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    #: Name pattern; None: unique by construction.
    name: str | None = None
    #: Whether images carry their settings (A1111 infotext and the farm's own JSON).
    metadata: bool = True


class Group(ShotFields):
    name: str
    #: Where its pictures differ from the manifest's `output`: only the keys that are set.
    output: Output | None = None
    axes: dict[str, Axis] = Field(default_factory=dict)
    zip: tuple[tuple[str, ...], ...] = ()
    #: Extra combinations or additions, as in CI matrices; keys are axis names, `axis.field` or new names.
    include: tuple[dict[str, Spelling], ...] = ()
    #: As long as `include`: the shot fields that each entry sets.
    include_sets: tuple[ShotFields, ...] = ()
    #: Keys are `axis` or `axis.field`; a combination that equals all texts of one entry is left out.
    exclude: tuple[dict[str, str], ...] = ()

    def factors(self) -> Iterator[tuple[str, ...]]:
        """The axes of each factor of the product, in the order written; a zip stands at its first axis."""
        zips = {axis: names for names in self.zip for axis in names}
        done: set[str] = set()
        for axis in self.axes:
            if axis not in done:
                names = zips.get(axis, (axis,))
                done.update(names)
                yield names


class Limits(Strict):
    max_images: Annotated[int, Field(ge=1)] = 10_000
    #: In the farm's currency; None: no limit.
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
    presets: dict[str, ShotFields] = Field(default_factory=dict)
    #: Wildcard name to its lines.
    wildcards: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def output_of(self, group: Group) -> Output:
        """What the group says of its files, for the rest what the manifest says."""
        own = group.output
        if own is None:
            return self.output
        return self.output.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})

    def seeds_of(self, group: Group) -> Seeds:
        return group.seeds or self.defaults.seeds or Seeds()

    def multiplies(self, group: Group) -> bool:
        """Whether variants multiply the shots of a group; else one is drawn for each shot."""
        return (group.variants or self.defaults.variants) == "combinatorial"

    def allows_empty(self, group: Group) -> bool:
        """Whether shots of a group may have an empty prompt."""
        own = group.allow_empty
        return bool(self.defaults.allow_empty if own is None else own)

    @property
    def names_files(self) -> bool:
        """Whether file names follow a pattern that somebody wrote, and so may collide."""
        return any(self.output_of(group).name is not None for group in self.shots)
