"""Suggests what to write for an unknown key: a key of another program, or one that belongs elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from common import lookalikes
from common.document import tree
from common.document.tree import Scalar, YamlNode, flow
from common.manifest import value_remedies
from common.manifest.aliases import WITHOUT, spelled, theirs
from common.manifest.combination_remedies import as_axes, means_axes, of_combination
from common.wording import quoted

#: Returns the end of a message for a key in a mapping: what to write. None if the key is unknown here too,
#: empty if the message for another key of the mapping says it already.
KeyRemedy = Callable[[str, tree.Mapping], str | None]

_Values = Mapping[str, YamlNode]


@dataclass(frozen=True, slots=True)
class Habit:
    """Keys of other programs that together correspond to one of our keys."""

    #: Keys as `spelled`, to their roles.
    keys: Mapping[str, str]
    #: Our key, which may also be present.
    ours: str
    #: Returns the line to write from the values by role; None if they do not determine it.
    line: Callable[[_Values], str | None]

    def remedy(self, key: str, mapping: tree.Mapping) -> str:
        mine = {each: self.keys[spelled(each)] for each in mapping.entries if spelled(each) in self.keys}
        first, *others = mine
        if self.ours in mapping.entries:
            return f"; remove it, since `{self.ours}` already sets it"
        if key != first:
            return ""
        values = {role: value for each, role in mine.items() if (value := mapping.get(each)) is not None}
        place = f" instead of it and {' and '.join(f'`{each}`' for each in others)}" if others else ""
        line = self.line(values)
        if line is None or len(line) > value_remedies.LONGEST:
            return f"; use `{self.ours}`"
        return f"; write `{line}`{place}"


def _text(node: YamlNode) -> str:
    return node.text if isinstance(node, Scalar) else flow(node)


def _named(ours: str) -> Callable[[_Values], str]:
    """Keeps the value unchanged under our key."""
    return lambda values: f"{ours}: {flow(next(iter(values.values())))}"


def _size(values: _Values) -> str | None:
    if aspect := values.get("aspect"):
        area = f", megapixels: {_text(values['megapixels'])}" if "megapixels" in values else ""
        return f"size: {{aspect: {value_remedies.aspect(_text(aspect)) or _text(aspect)}{area}}}"
    if area_only := values.get("megapixels"):
        return f"size: {{megapixels: {_text(area_only)}}}"
    sides = [_text(values[side]) for side in ("width", "height") if side in values]
    if not all(re.fullmatch(r"[0-9]{1,5}", side) for side in sides):
        return None
    return f"size: {sides[0]}x{sides[-1]}"


def _seeds(values: _Values) -> str | None:
    value = values["seed"]
    if isinstance(value, Scalar):
        meant = value_remedies.seeds(value.text, most=0)
        number = value.number()
        if isinstance(number, int) and number >= 2**63:
            return None
        return f"seeds: {meant or flow(tree.Sequence(value.place, [value]))}"
    items = value.items if isinstance(value, tree.Sequence) else []
    if any(isinstance(item, Scalar) and item.text in value_remedies.RANDOM for item in items):
        return f"seeds: {{mode: random, count: {len(items)}}}"
    return f"seeds: {flow(value)}"


def _count(values: _Values) -> str:
    product = 1
    for value in values.values():
        text = _text(value)
        if not re.fullmatch(r"\d{1,6}", text):
            return f"seeds: {text}"
        product *= int(text)
    return f"seeds: {product}"


def _model(values: _Values) -> str:
    text = _text(values["model"])
    return f"model: {value_remedies.slug(text) or text}"


def _sampler(values: _Values) -> str:
    text = _text(values["sampler"])
    return f"sampler: {value_remedies.sampler(text) or text}"


def _name(values: _Values) -> str | None:
    name = value_remedies.slug(_text(values["name"]))
    return f"name: {name}" if name else None


def _loras(values: _Values) -> str:
    value = values["lora"]
    if isinstance(value, Scalar):
        weight = f"@{_text(values['weight'])}" if "weight" in values else ""
        return f"loras: [{(value_remedies.lora(value.text) or value.text) + weight}]"
    if isinstance(value, tree.Sequence) and all(isinstance(item, Scalar) for item in value.items):
        return (
            f"loras: [{', '.join(value_remedies.lora(_text(item)) or _text(item) for item in value.items)}]"
        )
    return f"loras: {flow(value)}"


def _output(values: _Values) -> str:
    parts = [
        f"{'name' if role in _PARTS_OF_NAMES else role}: {_in_output(role, value)}"
        for role, value in values.items()
    ]
    return f"output: {{{', '.join(parts)}}}"


#: Keys of other programs for part of a name.
_PARTS_OF_NAMES = ("folder", "prefix")


def _in_output(role: str, value: YamlNode) -> str:
    text = _text(value)
    if role in ("folder", "prefix"):
        return quoted(f"{text.rstrip('/')}/{{group}}-{{index}}" if role == "folder" else f"{text}-{{index}}")
    if role == "format":
        return {"jpg": "jpeg"}.get(text.lower().lstrip("."), text.lower().lstrip("."))
    return quoted(text) if role == "name" else flow(value)


def _alike(role: str, *keys: str) -> dict[str, str]:
    return dict.fromkeys(keys, role)


#: Keys for the number of images, and for repetitions.
_COUNTS = (
    *("batchsize", "niter", "batchcount", "numimages", "numimagesperprompt", "numoutputs", "imagecount"),
    *("numsamples", "count", "images", "repeat", "repeats", "samples", "n", "num", "number", "quantity"),
    *("imagesperprompt", "picturesperprompt", "imagespercombination", "pictures", "batches"),
)

_HABITS = (
    Habit(_alike("seed", *theirs("seed"), "randomseed", "initialseed"), "seeds", _seeds),
    Habit(
        {
            **_alike("width", *theirs("width"), "w"),
            **_alike("height", *theirs("height"), "h"),
            **_alike("aspect", "aspect", "aspectratio", "ratio", "ar", "orientation"),
            **_alike("megapixels", "megapixels", "megapixel", "mp"),
        },
        "size",
        _size,
    ),
    Habit(_alike("size", *theirs("size"), "resolution", "dimensions", "dims"), "size", _named("size")),
    Habit(_alike("guidance", *theirs("guidance"), "scale"), "guidance", _named("guidance")),
    Habit(_alike("sampler", *theirs("sampler")), "sampler", _sampler),
    Habit(_alike("upscale", "upscaler", "upscalemodel", "upscalername"), "upscale", _named("upscale")),
    Habit(_alike("steps", *theirs("steps"), "ddimsteps"), "steps", _named("steps")),
    Habit({key: key for key in _COUNTS}, "seeds", _count),
    Habit(_alike("name", "title", "id", "label", "groupname"), "name", _name),
    Habit(_alike("negative", *theirs("negative"), "uc"), "negative", _named("negative")),
    Habit(_alike("prompt", *theirs("prompt"), "positive", "caption", "text"), "prompt", _named("prompt")),
    Habit(
        _alike(
            "model",
            *theirs("model"),
            *("modelname", "ckpt", "modelid", "modelpath", "basemodel", "pretrainedmodelnameorpath"),
        ),
        "model",
        _model,
    ),
    Habit(
        {
            **_alike("lora", *theirs("loras"), "loraname", "loranames", "lorapath", "adapter"),
            **_alike("weight", "loraweight", "lorastrength", "lorascale"),
        },
        "loras",
        _loras,
    ),
    Habit(
        {
            **_alike("format", "format", "fileformat", "outputformat", "imageformat", "extension"),
            **_alike("quality", "quality", "jpegquality"),
            **_alike("metadata", "metadata"),
            **_alike("name", "filename", "filenamepattern", "outputname", "namepattern"),
            **_alike("folder", "outputdir", "outdir", "outputfolder", "outputpath", "savepath", "savedir"),
            **_alike("prefix", "filenameprefix"),
        },
        "output",
        _output,
    ),
)
_HABIT_OF = {key: habit for habit in _HABITS for key in habit.keys}

#: Keys whose texts belong in the prompt.
_OF_A_PROMPT = ("style", "styles", "suffix", "promptsuffix", "postfix", "modifiers", "artist", "mood")

#: Settings of other programs that the farm does not have, and why.
_WITHOUT = {
    **{key: why for key, why in WITHOUT.items() if key not in ("seeds", "variants", "version")},
    **dict.fromkeys(("strength", "image", "mask", "ipadapter"), WITHOUT["denoise"]),
    **dict.fromkeys(("device", "dtype"), WITHOUT["vae"]),
    **dict.fromkeys(
        ("failfast", "maxparallel", "timeout", "needs", "dependson"), "the farm schedules the work"
    ),
    **dict.fromkeys(("shuffle", "order", "orderby", "sort"), "shots come in the order of their axes"),
    **dict.fromkeys(
        ("sample", "pick", "limit", "max", "maxcombinations", "take"),
        "every combination is rendered; to draw some, write `{a|b}` in the prompt, and `seeds`",
    ),
}
#: Metadata about a manifest, which has no effect on rendering.
_REMARKS = (
    "description",
    "comment",
    "comments",
    "note",
    "notes",
    "author",
    "tags",
    "date",
    "created",
    "about",
)
#: Keys by which other programs disable a part.
_SWITCHES = ("enabled", "enable", "disabled", "disable", "active", "skip")
#: Keys by which other programs name a base file.
_BASES = ("include", "import", "imports", "base", "parent", "inherit", "inherits", "extend", "from")
_DOCUMENTS = (".yaml", ".yml", ".json")
_TEXTS = ("prompts", "captions", "texts")


def of_shots(key: str, mapping: tree.Mapping) -> str | None:
    """Suggests what to write for a key of a group or of `defaults`."""
    if habit := _HABIT_OF.get(spelled(key)):
        return habit.remedy(key, mapping)
    prompt, value = mapping.get("prompt"), mapping.get(key)
    if spelled(key) in _OF_A_PROMPT and isinstance(value, Scalar):
        if not isinstance(prompt, Scalar):
            return "; write its words into `prompt`"
        joined = Scalar(value.place, f"{prompt.text}, {value.text}")
        return f"; write `prompt: {flow(joined)}` instead"
    if spelled(key) in _REMARKS:
        return "; remove it, or make it a comment with `# ` in front"
    if spelled(key) in _SWITCHES and isinstance(value, Scalar):
        return "; remove it, and put `# ` in front of each line to ignore"
    why = _WITHOUT.get(spelled(key))
    return f"; remove it: {why}" if why else None


def of_group(key: str, mapping: tree.Mapping) -> str | None:
    """Suggests what to write for a key of a group, including axes outside `axes:`."""
    value = mapping.get(key)
    if (remedy := of_combination(key, mapping)) is not None:
        return remedy
    if spelled(key) in _TEXTS and isinstance(value, tree.Sequence):
        return under(f"prompt: {flow(value)}", "axes")
    if isinstance(value, Scalar) and value_remedies.is_list_file(value.text):
        return under(f"row: {{file: {flow(value)}}}", "axes")
    if (remedy := of_shots(key, mapping)) is not None:
        return remedy
    is_axis = isinstance(value, tree.Sequence) and bool(value.items)
    if isinstance(value, tree.Mapping):
        is_axis = bool(value.entries.keys() & {"file", "values", "from"})
    if value is not None and is_axis and re.fullmatch(r"[^\W\d][\w-]*", key):
        return under(f"{key}: {flow(value)}", "axes")
    return None


def under(line: str, place: str) -> str:
    """Says where a line belongs; a long line is not repeated."""
    return (
        f"; write `{line}` under `{place}:`"
        if len(line) <= value_remedies.LONGEST
        else f"; write it under `{place}:`"
    )


def belongs(places: Mapping[str, str], otherwise: KeyRemedy | None = None) -> KeyRemedy:
    """Returns a remedy for keys that belong in another place; `otherwise` handles other keys."""

    def remedy(key: str, mapping: tree.Mapping) -> str | None:
        if key in places:
            return places[key]
        return otherwise(key, mapping) if otherwise else None

    return remedy


def of_manifest(group_keys: Iterable[str], shot_keys: Iterable[str]) -> KeyRemedy:
    """Returns a remedy for the top level: shot keys belong in `defaults`, other group keys in a group."""
    in_group, in_defaults = set(group_keys), set(shot_keys)

    def remedy(key: str, mapping: tree.Mapping) -> str | None:
        value = mapping.get(key)
        groups = value.items if isinstance(value, tree.Sequence) else []
        if "shots" not in mapping.entries and spelled(key) in ("group", "groups"):
            return "; rename it to `shots`"
        if "shots" not in mapping.entries and any(isinstance(group, tree.Mapping) for group in groups):
            return ": did you mean `shots`?"
        if spelled(key) in ("preset", "style", "styles") and isinstance(value, tree.Mapping):
            return ": did you mean `presets`?"
        if spelled(key) in _BASES and isinstance(value, Scalar) and value.text.lower().endswith(_DOCUMENTS):
            return f"; write `extends: {flow(value)}`"
        if "shots" not in mapping.entries and (group := _only_group(key, value)):
            return f"; write `shots: [{group}]`"
        if means_axes(key):
            inner = value.get("matrix") if isinstance(value, tree.Mapping) else None
            line = as_axes(inner or value)
            return f"; write `{line}` in a group under `shots`" if line else "; write `axes:` in a group"
        if key in in_defaults and value is not None:
            return under(f"{key}: {flow(value)}", "defaults")
        if key in in_group:
            return "; it belongs in a group under `shots`"
        found = of_shots(key, mapping)
        if found is None or not found.startswith("; write `"):
            return found
        return f"{found} under `defaults:`" if not found.startswith("; write `output:") else found

    return remedy


def _only_group(key: str, value: YamlNode | None) -> str | None:
    """Returns a group made of the prompt or prompts of a manifest without groups."""
    if key == "prompt" and isinstance(value, Scalar):
        return f"{{prompt: {flow(value)}}}"
    if spelled(key) in _TEXTS and isinstance(value, tree.Sequence):
        return f"{{axes: {{prompt: {flow(value)}}}}}"
    return None


def renamed(names: Mapping[str, str]) -> KeyRemedy:
    """Returns a remedy for keys with other common names; `names` are as `spelled`."""

    def remedy(key: str, mapping: tree.Mapping) -> str | None:
        ours, value = names.get(spelled(key)), mapping.get(key)
        if ours is None or value is None:
            return None
        if ours in mapping.entries:
            return f"; remove it, since `{ours}` already sets it"
        return f"; write `{ours}: {flow(value)}`"

    return remedy


def odd_indentation(key: str, place: tree.Place, mapping: tree.Mapping) -> str | None:
    """Explains a key that begins with an invisible character or a lookalike of a space."""
    first = key[:1]
    if first.isascii() or lookalikes.plain(first).strip():
        return None
    is_indented = place.column == 1 and first.isspace() and place != mapping.place
    meant = " " if is_indented else lookalikes.plain(key).strip()
    return f": {lookalikes.named(first)}; write `{meant}`"


def after_comma(key: str, mapping: tree.Mapping) -> str | None:
    """Explains the `5` in `{guidance: 7,5}`, where the comma separates entries."""
    keys = list(mapping.entries)
    before = keys[keys.index(key) - 1] if keys[0] != key else ""
    whole, rest = mapping.get(before), mapping.get(key)
    if not (isinstance(whole, Scalar) and isinstance(rest, Scalar) and rest.kind == "null"):
        return None
    digits = re.match(r"[0-9]+", key)
    if digits is None or not re.fullmatch(r"[-+]?[0-9]+", whole.text):
        return None
    return f": a comma ends `{before}: {whole.text}`; write `{before}: {whole.text}.{digits[0]}`"


def gives(field: str, keys: Iterable[str]) -> bool:
    """Returns whether one of the keys is another program's name for a field of ours."""
    habits = [_HABIT_OF.get(spelled(key)) for key in keys]
    return any(habit is not None and habit.ours == field for habit in habits)


def of_seeds(key: str, mapping: tree.Mapping) -> str | None:
    """Suggests `seeds` for mappings such as `{from: 1, to: 5}`, `{values: [1, 2]}`, `{seed: 7, count: 4}`."""
    value = mapping.get(key)
    if spelled(key) in ("values", "list", "seeds") and isinstance(value, tree.Sequence):
        return f"; write `seeds: {flow(value)}`"
    if spelled(key) in ("seed", "first") and "start" not in mapping.entries and value is not None:
        return f"; write `start: {flow(value)}`"
    if spelled(key) in ("n", "number", "num") and "count" not in mapping.entries and value is not None:
        return f"; write `count: {flow(value)}`"
    first = first_of(mapping, "from", "start", "first", "min")
    last = first_of(mapping, "to", "end", "stop", "last", "max")
    if not (isinstance(first, Scalar) and isinstance(last, Scalar)):
        return None
    numbers = [node.number() for node in (first, last)]
    if not all(isinstance(number, int) for number in numbers):
        return None
    wrong = [each for each in mapping.entries if each not in ("start", "count", "mode")]
    if key != wrong[0]:
        return ""
    step = first_of(mapping, "step", "by", "increment")
    if isinstance(step, Scalar) and re.fullmatch(r"[1-9]\d{0,8}", step.text) and step.text != "1":
        values = range(int(numbers[0] or 0), int(numbers[1] or 0) + 1, int(step.text))
        return f"; write `seeds: [{', '.join(map(str, values))}]`" if 0 < len(values) <= 20 else None
    count = int(numbers[1] or 0) - int(numbers[0] or 0) + 1
    return f"; write `seeds: {{start: {numbers[0]}, count: {count}}}`" if count > 0 else None


def of_size(key: str, mapping: tree.Mapping) -> str | None:
    """Suggests `size` for mappings such as `{w: 512, h: 768}`."""
    habit = _HABIT_OF.get(spelled(key))
    if habit is None or habit.line is not _size:
        return None
    roles = {
        habit.keys[spelled(each)]: value for each, _, value in mapping.items() if spelled(each) in habit.keys
    }
    wrong = [each for each in mapping.entries if habit.keys.get(spelled(each)) != each]
    if key != wrong[0]:
        return ""
    line = _size(roles)
    return None if line is None else f"; write `{line}`"


def first_of(mapping: tree.Mapping, *keys: str) -> YamlNode | None:
    return next((mapping.get(key) for key in keys if key in mapping.entries), None)
