"""Results of a reader: requested images in the terms of the source program, and an import report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from common.errors import Invalid
from common.manifest.aliases import field_of, spelled, without
from common.wording import shortened


class UnusableSource(Invalid):
    """The file cannot become a manifest. The message states reason and remedy, without the file name."""


#: Field names used by several programs that are missing from `common.manifest.aliases`.
_OURS = {
    "cfgs": "guidance",
    "cfgscale": "guidance",
    # Forge and its kin, for FLUX.1; written after the `CFG scale` of 1.
    "distilledcfgscale": "guidance",
    "negativeprompt": "negative",
    "sdmodel": "model",
    "sdmodelname": "model",
    "modelname": "model",
    "filename": "name",
    "name": "name",
    "file": "name",
    "niter": "count",
    "batchsize": "count",
    "batchcount": "count",
    "numimages": "count",
    "numimagesperprompt": "count",
    "images": "count",
    "aspectratio": "aspect",
    "scheduletype": "schedule",
}
#: Settings that describe an existing image and request nothing.
_SILENT = {
    *("modelhash", "sdmodelhash", "sdmodelcheckpointhash", "lorahashes", "version", "hashes"),
    *("vaehash", "created", "date", "generationtime", "swarmversion", "appversion", "donotsavesamples"),
    *(
        "automaticvae",
        "donotsavegrid",
        "outpathsamples",
        "outpathgrids",
        "promptfordisplay",
        "user",
        "modeltype",
        "template",
    ),
    *("negativetemplate", "preptime", "loadtime"),
}
#: Reasons why a setting is unsupported, by prefix of its name.
_PARTS = {
    "hires": "the farm supports one pass; set the larger `size` directly",
    "adetailer": "the farm does not restore faces",
    "controlnet": "the farm supports only text-to-image",
    "mask": "the farm supports only text-to-image",
    "inpaint": "the farm supports only text-to-image",
    "init": "the farm supports only text-to-image",
    "tihashes": "write `embedding:NAME` for each of them in the prompts",
    "vae": "each model has a fixed one",
}
_SAID = {
    "denoisingstrength": "the image was generated from another image; the farm supports only text-to-image",
    "styles": "import `styles.csv` itself to get an axis of styles",
}
#: Values that mean that a setting is off.
_OFF = {"", "0", "0.0", "false", "none", "null", "automatic", "off"}


@dataclass(slots=True)
class Taken:
    """A setting that was imported into a field of the manifest."""

    theirs: str
    ours: str
    #: Distinct values, in order.
    values: dict[str, None] = field(default_factory=dict)
    count: int = 0

    @property
    def value(self) -> str:
        return (
            next(iter(self.values), "") if len(self.values) == 1 else f"{len(self.values):,} different values"
        )


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was not or not exactly imported: how often, where first, and why."""

    what: str
    why: str
    count: int
    #: Such as `line 3`; empty if there is no position.
    place: str


@dataclass(slots=True)
class Account:
    """The import report: what was imported and what was left out, each kind once."""

    _taken: dict[tuple[str, str], Taken] = field(default_factory=dict)
    _left: dict[tuple[str, str], tuple[str, int, str]] = field(default_factory=dict)

    def take(self, theirs: str, ours: str, value: str) -> None:
        taken = self._taken.setdefault((theirs, ours), Taken(theirs, ours))
        taken.values[value] = None
        taken.count += 1

    def leave(self, what: str, why: str, place: str = "", kind: str = "") -> None:
        """Records something left out; of several `what` with the same `kind`, the first is shown."""
        key = (kind or what, why)
        first, count, where = self._left.get(key, (what, 0, place))
        self._left[key] = (first, count + 1, where)

    @property
    def taken(self) -> tuple[Taken, ...]:
        return tuple(self._taken.values())

    @property
    def left(self) -> tuple[Left, ...]:
        return tuple(Left(what, why, count, place) for (_, why), (what, count, place) in self._left.items())


@dataclass(frozen=True, slots=True)
class SourceValue:
    """A value as written in the source, and the name of its setting there."""

    theirs: str
    text: str


class TheirLora(NamedTuple):
    """A LoRA as its source names it."""

    name: str
    weight: float
    #: That for the text encoder; None: the same.
    text_weight: float | None = None


@dataclass(slots=True)
class Wish:
    """One image requested by a source, or several that differ only in their seeds.

    `fields` uses the names of the farm: those of a shot, `width` and `height` for `size`, `seed`, `count` (of
    images with consecutive seeds), `aspect`, and `name` (of the file).
    """

    fields: dict[str, SourceValue] = field(default_factory=dict)
    #: Names in the source, with weights.
    loras: list[TheirLora] = field(default_factory=list)
    #: Such as `line 3`.
    place: str = ""

    def say(self, ours: str, theirs: str, text: str) -> None:
        if ours == "count" and ours in self.fields:
            text = str(_integer(self.fields["count"].text) * _integer(text))
        self.fields[ours] = SourceValue(theirs, text)

    def text(self, ours: str) -> str:
        given = self.fields.get(ours)
        return given.text if given else ""


def _integer(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 1


@dataclass(slots=True)
class Wishes:
    """Requested images, from a program that describes them one by one."""

    #: Kind of the file, such as `A1111 prompt list`.
    kind: str
    wishes: list[Wish]
    #: Whether prompts are already templates of the farm; otherwise they are plain text.
    is_template: bool = False
    #: Model family to use if the source names no model, such as `sdxl`.
    family: str = ""
    #: Whether numbers follow the conventions of the farm, as in images that it rendered.
    is_ours: bool = False
    #: ID of the shot if the image states it; its texts then remain unchanged.
    shot_id: str = ""
    #: `output` and `lane` of the manifest.
    output: dict[str, object] = field(default_factory=dict)
    lane: str = ""


@dataclass(frozen=True, slots=True)
class TableSource:
    """Rows that a prompt refers to by column: products, personas."""

    kind: Literal["table", "list of objects"]
    #: One mapping from heading to cell per row; only as many rows as needed to choose columns.
    rows: tuple[dict[str, str], ...]

    @property
    def headings(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows for key in row))


@dataclass(frozen=True, slots=True)
class Styles:
    """Named styles; `{prompt}` in a text stands for the prompt that the style is applied to."""

    #: Name, prompt, negative prompt.
    styles: tuple[tuple[str, str, str], ...]


Source = Wishes | TableSource | Styles


def fill(wish: Wish, pairs: Iterable[tuple[str, str]], account: Account) -> None:
    """Sets the fields that the (name, value) pairs describe; records all other pairs in the report."""
    for key, value in pairs:
        ours = field_of(key) or _OURS.get(spelled(key))
        if ours is not None:
            if value.strip() or ours == "negative":
                wish.say(ours, key, value)
        elif why := reason(key, value):
            account.leave(f"{key}: {shortened(value, 30)}" if value.strip() else key, why, wish.place, key)


def is_setting(key: str) -> bool:
    """Whether a heading or key is the name that some program uses for a field of the farm."""
    return field_of(key) is not None or spelled(key) in _OURS


def reason(key: str, value: str) -> str | None:
    """Why a setting is left out; None if it is irrelevant."""
    word = spelled(key)
    if word in _SILENT or value.strip().lower() in _OFF:
        return None
    if word in _SAID:
        return _SAID[word]
    for part, why in _PARTS.items():
        if word.startswith(part):
            return why
    return without(key) or "the farm does not have this setting"


def places(noun: str, first: int = 1) -> Iterator[str]:
    """Positions such as `line 1`."""
    while True:
        yield f"{noun} {first}"
        first += 1
