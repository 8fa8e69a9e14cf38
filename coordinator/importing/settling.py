"""Converts requests into valid rows: values within bounds and names of the catalog; reports the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from common.catalog import Catalog, Model
from common.catalog.compatibility import KNOBS, lora_problem
from common.catalog.samplers import SCHEDULES
from common.manifest.shot_values import MAX_ASPECT, MAX_SEED, MAX_SIDE
from common.textual_inversions import MARK, MENTION
from common.wording import shortened
from coordinator.expand.oversights import is_blank
from coordinator.importing import known, texts
from coordinator.importing.imported import Account, SourceValue, TheirLora, UnusableSource, Wish, Wishes

#: Default if neither the file nor the user names a model.
_DEFAULT_FAMILY = "z-image"
#: Maximum side of typical Stable Diffusion 1.5 images.
_SMALL_SIDE = 768
_MAX_COUNT = 10_000
_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×*]\s*(\d{1,6})\s*")
_ASPECT = re.compile(r"\s*(\d{1,5}(?:\.\d{1,5})?)\s*[:/]\s*(\d{1,5}(?:\.\d{1,5})?)\s*")
_NUMBER = re.compile(r"\s*[-+]?(?:\d{1,25}(?:\.\d{0,25})?|\.\d{1,25})(?:[eE][-+]?\d{1,3})?\s*")
_PLAIN_SCHEDULES = ("", "automatic", "normal", "simple", "default", "sgm_uniform")
_RANDOM = ("", "-1", "random", "none", "null")

Value = str | int | float | list[str] | dict[str, str]


@dataclass(slots=True)
class Row:
    """One image, or `count` images with consecutive seeds, in the terms of the farm."""

    #: Shot fields in manifest order; prompts are templates or plain text, like those of the source.
    fields: dict[str, Value] = field(default_factory=dict)
    #: None: random.
    seed: int | None = None
    count: int = 1
    #: File name in the source.
    name: str = ""
    place: str = ""


@dataclass(slots=True)
class Settling:
    """Context for all rows: the catalog, the model selected by the user, and the import report."""

    catalog: Catalog
    account: Account
    #: Model of the catalog that overrides those in the source.
    model: str | None = None
    _models: dict[str, tuple[Model, bool]] = field(default_factory=dict)

    def default_model(self) -> str:
        """For files that request no image: the model selected by the user, or a general-purpose one."""
        self._check_model()
        name = self.model or self._first_of("")
        self._report_model(None, name, False, "")
        return name

    def _check_model(self) -> None:
        if self.model is not None and self.model not in self.catalog.models:
            raise UnusableSource(
                f"`--model {self.model}`: unknown model; "
                f"the catalog has {known.names(self.catalog.models)} (`farm models`)"
            )

    def rows(self, source: Wishes) -> list[Row]:
        """The rows of a source. Raises UnusableSource if it contains no prompt."""
        self._check_model()
        rows = [self._row(wish, source) for wish in source.wishes]
        found = [row for row in rows if row is not None]
        if not found:
            raise UnusableSource("contains no prompt")
        return found

    def _row(self, wish: Wish, source: Wishes) -> Row | None:
        row = Row(place=wish.place)
        loras = list(wish.loras)
        if given := wish.fields.get("loras"):
            loras += texts.named_loras(given.text)
        for name in ("prompt", "negative"):
            self._text(name, wish, row, loras, source)
        if source.shot_id:
            row.fields.setdefault("prompt", "")
        elif is_blank(str(row.fields.get("prompt", ""))):
            self.account.leave("an entry without a prompt", "there is nothing to render", wish.place)
            return None
        model, is_theirs = self._model(wish, source)
        row.fields["model"] = model.name
        self._inversions(row, model)
        self._tell_kept(row, model, source)
        self._loras(loras, model, row)
        self._size(wish, row)
        self._number("steps", wish, row, 1, 1000, whole=True)
        # In other programs 1 means no guidance; families that count from 0 need one less.
        less = 1 if is_theirs and not source.is_ours and model.family.guidance_doubles_above == 0 else 0
        self._number("guidance", wish, row, 0, 100, less=less)
        self._sampler(wish, row, model)
        for name in KNOBS:
            self._knob(name, wish, row, model)
        self._upscaler(wish, row)
        self._seed(wish, row)
        row.name = wish.text("name").strip()
        return row

    def _text(self, name: str, wish: Wish, row: Row, loras: list[TheirLora], source: Wishes) -> None:
        given = wish.fields.get(name)
        if given is None:
            return
        text, found = given.text, list[TheirLora]()
        if not source.shot_id:
            text = texts.whole(text, self.account, wish.place)
            text, found = texts.without_loras(text, self.account, wish.place)
        if name == "prompt":
            loras += found
        for lora in found if name == "negative" else ():
            self.account.leave(
                f"LoRA {shortened(lora.name, 40)}", "LoRAs are not supported in negative prompts", wish.place
            )
        if text:
            row.fields[name] = text
            self.account.take(given.theirs, name, shortened(text, 48))

    def _tell_kept(self, row: Row, model: Model, source: Wishes) -> None:
        for name in ("prompt", "negative") if not source.shot_id else ():
            texts.tell_kept(
                str(row.fields.get(name, "")),
                self.account,
                row.place,
                is_template=source.is_template,
                reads_emphasis=model.family.reads_emphasis,
            )

    def _inversions(self, row: Row, model: Model) -> None:
        """Names textual inversions as the catalog does; what it lacks remains as a word."""

        def named(mention: re.Match[str]) -> str:
            found = known.inversion(mention[1], self.catalog)
            if found is not None and found.family == model.family.name:
                self.account.take(f"embedding {shortened(mention[1], 40)}", "prompt", f"{MARK}{found.name}")
                return f"{MARK}{found.name}"
            why = "kept as a word: the catalog has no such textual inversion for this model"
            self.account.leave(f"`{shortened(mention[0], 40)}`", why, row.place, "embedding")
            return mention[1]

        for name in ("prompt", "negative") if model.family.reads_emphasis else ():
            if text := row.fields.get(name):
                row.fields[name] = MENTION.sub(named, str(text))

    def _model(self, wish: Wish, source: Wishes) -> tuple[Model, bool]:
        """The model, and whether it is exactly the model named by the source."""
        given = wish.fields.get("model")
        theirs = given.text.strip() if given else ""
        if theirs not in self._models:
            name, is_same = self._chosen(theirs, source)
            self._models[theirs] = (self.catalog.models[name], is_same)
            self._report_model(given, name, is_same, wish.place)
        model, is_same = self._models[theirs]
        return model, is_same

    def _report_model(self, given: SourceValue | None, name: str, is_same: bool, place: str) -> None:
        if given and (is_same or self.model):
            self.account.take(given.theirs, "model", _became(given.text.strip(), name))
        elif given:
            is_other = known.is_of_another_family(given.text)
            why = "no model of its family is in the catalog" if is_other else "not in the catalog"
            what = f"{given.theirs}: {shortened(given.text, 40)}"
            self.account.leave(
                what, f"{why}; `{name}` is used instead; select another with `--model NAME`", place, what
            )
        elif not self.model:
            self.account.leave(
                "model", f"the file names no model; `{name}` is used; select another with `--model NAME`"
            )

    def _chosen(self, theirs: str, source: Wishes) -> tuple[str, bool]:
        found = known.model(theirs, self.catalog) if theirs else None
        if self.model is not None:
            return self.model, found is not None and found.is_same and found.name == self.model
        if found is not None:
            return found.name, found.is_same
        family = source.family
        if family == "sd":
            family = "sd15" if _are_small(source) else "sdxl"
        return self._first_of(family), False

    def _first_of(self, family: str) -> str:
        for each in (family, _DEFAULT_FAMILY):
            if name := known.of(each, self.catalog):
                return name
        return next(iter(self.catalog.models))

    def _loras(self, loras: list[TheirLora], model: Model, row: Row) -> None:
        found = []
        for theirs, weight, text_weight in loras:
            lora = known.lora(theirs, self.catalog)
            what = f"LoRA {shortened(theirs, 40)}"
            if lora is None:
                why = "not in the catalog; register it there and add it to `loras`"
            elif lora_problem(lora, model, self.catalog):
                why = f"it was trained for `{lora.base}` and does not work on `{model.name}`"
            elif not (-10 <= weight <= 10 and -10 <= (text_weight or 0) <= 10):
                why = f"its weight {max(weight, text_weight or 0, key=abs):g} is not between -10 and 10"
            else:
                text = "" if text_weight is None else f"/{spelled(text_weight)}"
                plain = weight == 1 and not text
                found.append(lora.name if plain else f"{lora.name}@{spelled(weight)}{text}")
                self.account.take(what, "loras", found[-1])
                continue
            self.account.leave(what, why, row.place, what)
        if found:
            row.fields["loras"] = found

    def _size(self, wish: Wish, row: Row) -> None:
        given = wish.fields.get("size")
        width, height = wish.fields.get("width"), wish.fields.get("height")
        theirs, text = (given.theirs, given.text) if given else ("", "")
        if width and height:
            theirs, text = (
                f"{width.theirs}, {height.theirs.rpartition('.')[2]}",
                f"{width.text}x{height.text}",
            )
        elif width or height:
            one = width or height
            assert one is not None
            self.account.leave(
                f"{one.theirs}: {shortened(one.text, 20)}",
                "a size requires width and height",
                row.place,
                one.theirs,
            )
        if match := _SIZE.fullmatch(text.replace(".0", "")):
            sides = int(match[1]), int(match[2])
            if (
                all(16 <= side <= MAX_SIDE for side in sides)
                and 1 / MAX_ASPECT <= sides[0] / sides[1] <= MAX_ASPECT
            ):
                row.fields["size"] = f"{sides[0]}x{sides[1]}"
                self.account.take(theirs, "size", f"{sides[0]}x{sides[1]}")
                return
        if text:
            self.account.leave(f"{theirs}: {shortened(text, 20)}", "not a supported size", row.place, theirs)
        if "aspect" in wish.fields and "size" not in row.fields:
            self._aspect(wish, row)

    def _aspect(self, wish: Wish, row: Row) -> None:
        given = wish.fields["aspect"]
        match = _ASPECT.fullmatch(given.text)
        ratio = float(match[1]) / float(match[2]) if match and float(match[2]) else 0.0
        if match and 1 / MAX_ASPECT <= ratio <= MAX_ASPECT:
            row.fields["size"] = {"aspect": f"{match[1]}:{match[2]}"}
            self.account.take(given.theirs, "size", f"{match[1]}:{match[2]}")
        elif not given.text.lower().startswith("custom"):
            self.account.leave(
                f"{given.theirs}: {shortened(given.text, 20)}", "not an aspect ratio", row.place, given.theirs
            )

    def _number(
        self, name: str, wish: Wish, row: Row, low: float, high: float, *, whole: bool = False, less: int = 0
    ) -> None:
        given = wish.fields.get(name)
        if given is None or not given.text.strip():
            return
        number = float(given.text) if _NUMBER.fullmatch(given.text) else None
        if number is None or not low <= number <= high or (whole and number != int(number)):
            bounds = f"not {'an integer' if whole else 'a number'} from {low:g} to {high:g}"
            self.account.leave(
                f"{given.theirs}: {shortened(given.text, 20)}",
                f"{bounds}; the default of the model is used",
                row.place,
                given.theirs,
            )
            return
        value = int(number) if whole else _plain(max(low, number - less))
        row.fields[name] = value
        self.account.take(given.theirs, name, _became(given.text.strip(), spelled(value)))

    def _sampler(self, wish: Wish, row: Row, model: Model) -> None:
        given = wish.fields.get("sampler")
        if given is None or not given.text.strip():
            return
        schedule = wish.text("schedule").strip()
        theirs = given.text.strip()
        if schedule.lower() in SCHEDULES:
            if schedule.lower() not in theirs.lower():
                theirs = f"{theirs} {schedule}"
        elif schedule.lower() not in _PLAIN_SCHEDULES:
            why = "the farm has the schedules simple, karras and beta"
            self.account.leave(
                f"{wish.fields['schedule'].theirs}: {shortened(schedule, 20)}", why, row.place, "schedule"
            )
        found = known.sampler(theirs, model.family.samplers)
        if found is None:
            names = ", ".join(model.family.samplers)
            why = f"`{model.name}` supports {names}; its default `{model.sampler}` is used"
            self.account.leave(
                f"{given.theirs}: {shortened(theirs, 30)}", why, row.place, f"sampler {theirs}"
            )
            return
        row.fields["sampler"] = found.name
        self.account.take(given.theirs, "sampler", _became(theirs, found.name))
        if not found.is_same:
            why = f"`{found.name}` is the most similar sampler of `{model.name}`; images will differ"
            self.account.leave(
                f"{given.theirs}: {shortened(theirs, 30)}", why, row.place, f"sampler {theirs}"
            )

    def _knob(self, name: str, wish: Wish, row: Row, model: Model) -> None:
        given = wish.fields.get(name)
        if given is None or (name == "clip_skip" and given.text.strip() == "1"):
            # No layer is skipped: other programs say so where nobody chose it.
            return
        bounds = model.family.knobs.get(name)
        if bounds is None:
            self.account.leave(
                f"{given.theirs}: {shortened(given.text, 20)}",
                f"`{model.name}` does not support it",
                row.place,
                name,
            )
        else:
            self._number(name, wish, row, *bounds, whole=name != "shift")

    def _upscaler(self, wish: Wish, row: Row) -> None:
        """Of images of a farm: other programs name theirs by files of their own."""
        given = wish.fields.get("upscale")
        if given is None:
            return
        if given.text in self.catalog.upscalers:
            row.fields["upscale"] = given.text
            self.account.take(given.theirs, "upscale", given.text)
        else:
            what = f"upscaler {shortened(given.text, 40)}"
            self.account.leave(
                what, "the catalog has no such upscaler; add it with `farm models add`", row.place
            )

    def _seed(self, wish: Wish, row: Row) -> None:
        given, count = wish.fields.get("seed"), wish.fields.get("count")
        if count is not None:
            number = int(count.text) if count.text.strip().isdecimal() and len(count.text) < 9 else 0
            if 1 <= number <= _MAX_COUNT:
                row.count = number
                if number > 1:
                    self.account.take(count.theirs, "seeds", count.text)
            else:
                self.account.leave(
                    f"{count.theirs}: {shortened(count.text, 20)}",
                    "not a number of images",
                    row.place,
                    count.theirs,
                )
        if given is None:
            return
        text = given.text.strip().removesuffix(".0")
        if text.isdecimal() and len(text) < 25 and int(text) + row.count - 1 <= MAX_SEED:
            row.seed = int(text)
            self.account.take(given.theirs, "seeds", text)
        elif text.lower() in _RANDOM:
            self.account.take(given.theirs, "seeds", f"{text or 'none'} → random")
        else:
            self.account.leave(
                f"{given.theirs}: {shortened(text, 24)}",
                f"seeds are integers up to {MAX_SEED}; a random one is used",
                row.place,
                given.theirs,
            )


def _are_small(source: Wishes) -> bool:
    """Whether all sizes in a source are typical of Stable Diffusion 1.5."""
    sides = [wish.text(side) for wish in source.wishes for side in ("width", "height")]
    sides += [
        side
        for wish in source.wishes
        if (size := _SIZE.fullmatch(wish.text("size")))
        for side in size.groups()
    ]
    known_sides = [int(side) for side in sides if side.isdecimal() and len(side) < 7]
    return bool(known_sides) and max(known_sides) <= _SMALL_SIDE


def _became(theirs: str, ours: str) -> str:
    return shortened(ours) if theirs == ours else f"{shortened(theirs, 40)} → {shortened(ours)}"


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number


def spelled(number: float) -> str:
    """A number in plain notation without an exponent.

    >>> spelled(7.0), spelled(0.8)
    ('7', '0.8')
    """
    return str(_plain(number))
