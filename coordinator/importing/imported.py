"""What a reader finds in a file: wishes for pictures in its program's terms, and an account of everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from common.errors import Invalid
from common.manifest.aliases import field_of, spelled, without
from common.wording import shortened


class UnusableSource(Invalid):
    """The file cannot become a manifest; the message says why and what to do, without naming the file."""


#: What several programs call the fields that `common.manifest.aliases` does not name.
_OURS = {
    "cfgs": "guidance",
    "cfgscale": "guidance",
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
#: What describes a picture that is there already and asks for nothing.
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
#: Of a setting, by the beginning of its name: what the farm has no such thing for.
_PARTS = {
    "hires": "the farm has no second pass; ask for the larger `size` itself",
    "adetailer": "the farm mends no faces",
    "controlnet": "the farm makes pictures from text only",
    "mask": "the farm makes pictures from text only",
    "inpaint": "the farm makes pictures from text only",
    "init": "the farm makes pictures from text only",
    "tihashes": "the farm reads no textual inversions",
    "vae": "each model has its own",
}
_SAID = {
    "denoisingstrength": "the picture was made from another one; the farm makes pictures from text only",
    "clipskip": "the farm reads all layers of a text encoder",
    "styles": "import `styles.csv` itself for an axis of styles",
}
#: Values by which a setting says that it is off.
_OFF = {"", "0", "0.0", "false", "none", "null", "automatic", "off"}


@dataclass(slots=True)
class Taken:
    """A setting that became a field of the manifest."""

    theirs: str
    ours: str
    #: Distinct values, in order; a few.
    values: dict[str, None] = field(default_factory=dict)
    count: int = 0

    @property
    def value(self) -> str:
        return next(iter(self.values), "") if len(self.values) == 1 else f"{len(self.values):,} different"


@dataclass(frozen=True, slots=True)
class Left:
    """What did not become a part of the manifest, or not quite: how often, where first, and why."""

    what: str
    why: str
    count: int
    #: Such as `line 3`; empty for what has no place.
    place: str


@dataclass(slots=True)
class Account:
    """What was taken and what was left of a file, each kind once."""

    _taken: dict[tuple[str, str], Taken] = field(default_factory=dict)
    _left: dict[tuple[str, str], tuple[str, int, str]] = field(default_factory=dict)

    def take(self, theirs: str, ours: str, value: str) -> None:
        taken = self._taken.setdefault((theirs, ours), Taken(theirs, ours))
        taken.values[value] = None
        taken.count += 1

    def leave(self, what: str, why: str, place: str = "", kind: str = "") -> None:
        """`what` differs within one `kind`; the first is shown."""
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
class Said:
    """A value as the source spells it, and what it is called there."""

    theirs: str
    text: str


@dataclass(slots=True)
class Wish:
    """One picture that a source asks for, or several that differ in their seeds.

    `fields` has the farm's names: those of a shot, `width` and `height` for `size`, `seed`, `count` (of
    pictures with seeds that follow each other), `aspect`, and `name` (of the file).
    """

    fields: dict[str, Said] = field(default_factory=dict)
    #: Name in the source and weight.
    loras: list[tuple[str, float]] = field(default_factory=list)
    #: Such as `line 3`.
    place: str = ""

    def say(self, ours: str, theirs: str, text: str) -> None:
        if ours == "count" and ours in self.fields:
            text = str(_whole(self.fields["count"].text) * _whole(text))
        self.fields[ours] = Said(theirs, text)

    def text(self, ours: str) -> str:
        said = self.fields.get(ours)
        return said.text if said else ""


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 1


@dataclass(slots=True)
class Wishes:
    """Pictures to be made, from any of the programs that describe them one by one."""

    #: What the file is: `A1111 prompt list`.
    kind: str
    wishes: list[Wish]
    #: Whether prompts are in the farm's own language already; else they are plain text.
    is_template: bool = False
    #: Base of the pictures where nothing names a model, such as `sdxl`; a family of the catalog.
    family: str = ""
    #: Whether numbers are the farm's own, as in its pictures.
    is_ours: bool = False
    #: Id of the shot that the picture is, where it says so; its texts stay to the letter.
    shot_id: str = ""
    #: `output` and `lane` of the manifest.
    output: dict[str, object] = field(default_factory=dict)
    lane: str = ""


@dataclass(frozen=True, slots=True)
class TableSource:
    """Rows that a prompt refers to by their headings: products, personas."""

    kind: Literal["table", "list of objects"]
    #: Heading to cell, a row each; at most as many as are needed to choose.
    rows: tuple[dict[str, str], ...]

    @property
    def headings(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows for key in row))


@dataclass(frozen=True, slots=True)
class Styles:
    """Named additions to a prompt: `{prompt}` in a text is the prompt they are added to."""

    #: Name, text, negative text.
    styles: tuple[tuple[str, str, str], ...]


Source = Wishes | TableSource | Styles


def fill(wish: Wish, pairs: Iterable[tuple[str, str]], account: Account) -> None:
    """Says of a wish what pairs of a setting's name and value mean, and leaves the rest to the account."""
    for key, value in pairs:
        ours = field_of(key) or _OURS.get(spelled(key))
        if ours is not None:
            if value.strip() or ours == "negative":
                wish.say(ours, key, value)
        elif why := reason(key, value):
            account.leave(f"{key}: {shortened(value, 30)}" if value.strip() else key, why, wish.place, key)


def is_setting(key: str) -> bool:
    """Whether a heading or key is a field of the farm in the words of some program."""
    return field_of(key) is not None or spelled(key) in _OURS


def reason(key: str, value: str) -> str | None:
    """Why a setting is left; None for what nobody misses."""
    word = spelled(key)
    if word in _SILENT or value.strip().lower() in _OFF:
        return None
    if word in _SAID:
        return None if word == "clipskip" and value.strip() == "1" else _SAID[word]
    for part, why in _PARTS.items():
        if word.startswith(part):
            return why
    return without(key) or "the farm has no such setting"


def places(noun: str, first: int = 1) -> Iterator[str]:
    """`line 1`, `line 2` and so on."""
    while True:
        yield f"{noun} {first}"
        first += 1
