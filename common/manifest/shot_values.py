"""Parsers of LoRAs, seeds and sizes in their alternative forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.document import tree
from common.document.tree import Scalar, YamlNode, described, flow
from common.manifest import value_remedies
from common.manifest.key_remedies import of_seeds, of_size, renamed
from common.manifest.model import LoraRef, Seeds, Size
from common.manifest.plain_values import NAME, Choice, Name, Number
from common.manifest.reading import Key, Reading, read_keys
from common.wording import shortened, suggestion

MAX_SEED = 2**63 - 1
MAX_SIDE = 16_384
#: Wider or narrower images are assumed to be typing errors.
MAX_ASPECT = 20.0

_WEIGHT = Number(-10, 10)
_LORA_KEYS = {
    "name": Key(Name("LoRA"), "Catalog name of the LoRA."),
    "weight": Key(_WEIGHT, "Weight of the LoRA. Default: 1."),
    "text_weight": Key(_WEIGHT, "Its weight for the text encoders. Default: `weight`."),
}


#: Keys for the name of a LoRA in other programs.
_NAMES = ("lora", "model", "lora_name", "file", "path", "id")
_RENAMED = renamed(
    {
        **{each.replace("_", ""): "name" for each in _NAMES},
        **dict.fromkeys(
            ("strength", "scale", "multiplier", "modelstrength", "loraweight", "value", "unet"), "weight"
        ),
        **dict.fromkeys(
            ("clipstrength", "strengthclip", "clipweight", "te", "textencoder", "textstrength"), "text_weight"
        ),
    }
)


@dataclass(frozen=True, slots=True)
class LoraValue:
    """`name`, `name@0.8`, `name@0.8/0.5` or `{name: name, weight: 0.8, text_weight: 0.5}`."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> LoraRef | None:
        if isinstance(node, tree.Mapping):
            if (weights := _weights(node)) is not None:
                listed = flow(weights) if len(weights.items) > 1 else flow(weights.items[0])
                reading.wrong(
                    node.place, path, f"must be a LoRA such as `name@0.8`, not a mapping; write `{listed}`"
                )
                return None
            values = read_keys(node, path, _LORA_KEYS, reading, remedy=_RENAMED)
            if "name" not in values and not node.entries.keys() & {"name", *_NAMES}:
                reading.wrong(node.place, path, "the `name` of the LoRA is missing; write `name@0.8`")
            return LoraRef(**values) if "name" in values else None
        if not isinstance(node, Scalar) or not node.text:
            reading.wrong(node.place, path, f"must be a LoRA such as `name@0.8`, not {described(node)}")
            return None
        word, at, weight = (part.strip() for part in node.text.partition("@"))
        found = _both(node, weight) if at else (1.0, None)
        if found is None or not re.fullmatch(NAME, word):
            self._refuse(node, path, reading)
            return None
        return LoraRef(name=word, weight=found[0], text_weight=found[1])

    @staticmethod
    def _refuse(node: Scalar, path: str, reading: Reading) -> None:
        """Reports a text that is not a LoRA, with the LoRA that it resembles."""
        word, at, weight = (part.strip() for part in node.text.partition("@"))
        meant = value_remedies.lora(node.text)
        scratch = Reading(reading.text, None)
        right = meant not in (None, node.text) and LoraValue().read(
            Scalar(node.place, meant or ""), path, scratch
        )
        hint = value_remedies.write(node.text, meant) if right else ""
        if at and re.fullmatch(NAME, word):
            # Only the weight is wrong; its parser reports how.
            parts = [Scalar(node.place, part.strip()) for part in weight.split("/", 1)]
            problem = next(filter(None, map(_WEIGHT.problem, parts)), "")
            reading.wrong(node.place, path, f"the weight {problem}{hint}")
        else:
            reading.wrong(node.place, path, f"must be a LoRA such as `name@0.8`, not {described(node)}{hint}")

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^[^@]+(@ *[-+.0-9eE]+ *(/ *[-+.0-9eE]+ *)?)?$"}
        return {"anyOf": [text, mapping_schema(_LORA_KEYS, required=("name",))]}


def _both(node: Scalar, text: str) -> tuple[float, float | None] | None:
    """The weights in `0.8` or `0.8/0.5`; None if they are none."""
    first, slash, second = (part.strip() for part in text.partition("/"))
    numbers = [Scalar(node.place, part) for part in ((first, second) if slash else (first,))]
    if any(_WEIGHT.problem(number) for number in numbers):
        return None
    values = [float(number.number() or 0) for number in numbers]
    return values[0], values[1] if slash else None


def _weights(node: tree.Mapping) -> tree.Sequence | None:
    """Converts a mapping of names to weights, `{ana: 0.8}`, to LoRAs, `ana@0.8`."""
    if not node.entries or node.entries.keys() & _LORA_KEYS.keys():
        return None
    values = [value.number() if isinstance(value, Scalar) else None for _, _, value in node.items()]
    if any(value is None for value in values):
        return None
    texts = [f"{key}@{value.text}" for key, _, value in node.items() if isinstance(value, Scalar)]
    return tree.Sequence(node.place, [Scalar(node.place, text) for text in texts])


@dataclass(frozen=True, slots=True)
class Loras:
    """A list of LoRAs, or a single one."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> tuple[LoraRef, ...] | None:
        if isinstance(node, Scalar):
            node = _separate(node)
        if not isinstance(node, tree.Sequence):
            one = LoraValue().read(node, path, reading)
            return None if one is None else (one,)
        read = [LoraValue().read(item, f"{path}[{i}]", reading) for i, item in enumerate(node.items)]
        return tuple(lora for lora in read if lora is not None)

    def schema(self) -> dict[str, Any]:
        one = LoraValue().schema()
        return {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}


#: Separators of several LoRAs in one text.
_BETWEEN_LORAS = re.compile(r"\s*[,;\n]\s*|\s+\+\s+")


def _separate(node: Scalar) -> tree.YamlNode:
    """Splits a text with several LoRAs, such as the table cell `a@0.8 + b@0.5`, into a list."""
    if "<" in node.text:
        return node
    parts = [part for part in _BETWEEN_LORAS.split(node.text) if part]
    return tree.Sequence(node.place, [Scalar(node.place, part) for part in parts]) if len(parts) > 1 else node


@dataclass(frozen=True, slots=True)
class PresetNames:
    """The name of a preset, or a list of names; a table cell may contain several."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> tuple[str, ...] | None:
        if isinstance(node, Scalar) and node.text not in reading.presets:
            node = self._several(node, reading)
        if not isinstance(node, tree.Sequence):
            one = self._one(node, path, reading)
            return None if one is None else (one,)
        names = [self._one(item, f"{path}[{number}]", reading) for number, item in enumerate(node.items)]
        return None if None in names else tuple(name for name in names if name is not None)

    @staticmethod
    def _several(node: Scalar, reading: Reading) -> YamlNode:
        parts = [part for part in _BETWEEN_LORAS.split(node.text) if part]
        if len(parts) < 2 or not set(parts) <= reading.presets:
            return node
        return tree.Sequence(node.place, [Scalar(node.place, part) for part in parts])

    @staticmethod
    def _one(node: YamlNode, path: str, reading: Reading) -> str | None:
        if not isinstance(node, Scalar) or node.kind == "null":
            message = f"must be the name of a preset, or a list of them, not {described(node)}"
            reading.wrong(node.place, path, message)
            return None
        if node.text in reading.presets:
            return node.text
        if not reading.is_partial:
            none = "" if reading.presets else "; this manifest has no `presets`"
            hint = suggestion(node.text, sorted(reading.presets)) or none
            reading.wrong(node.place, path, f"unknown preset `{shortened(node.text)}`{hint}")
        return None

    def schema(self) -> dict[str, Any]:
        name = {"type": "string"}
        return {"anyOf": [name, {"type": "array", "items": name}]}


@dataclass(frozen=True, slots=True)
class OneLora:
    """A single LoRA, in the same form as `loras`; a text may contain several."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> tuple[LoraRef, ...] | None:
        if isinstance(node, Scalar):
            return Loras().read(node, path, reading)
        one = LoraValue().read(node, path, reading)
        return None if one is None else (one,)

    def schema(self) -> dict[str, Any]:
        return LoraValue().schema()


_SEED = Number(0, MAX_SEED, whole=True)
#: Leaves room for the following seeds.
_FIRST_SEED = Number(0, MAX_SEED - 1_000_000_000, whole=True)


@dataclass(frozen=True, slots=True)
class RowSeed:
    """A seed. `-1`, which means a random seed in other programs, selects the group's seeds."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> int | None:
        if isinstance(node, Scalar) and node.text.strip() in value_remedies.RANDOM:
            message = (
                f"`{node.text}` leaves the seed to the group; for random ones write `seeds: {{mode: random}}`"
            )
            reading.warn_at(path, message)
            return None
        seed = _FIRST_SEED.read(node, path, reading)
        return None if seed is None else int(seed)

    def schema(self) -> dict[str, Any]:
        return _FIRST_SEED.schema()


_COUNT = Number(1, 1_000_000_000, whole=True)
_SEEDS_KEYS = {
    "start": Key(_SEED, "First seed. Default: 0."),
    "count": Key(_COUNT, "Number of seeds. Default: 1."),
    "mode": Key(
        Choice(("fixed", "increment", "random")),
        "`fixed`: the same seeds for every combination; `increment`: continues counting through the group; "
        "`random`: a different seed for every shot.",
    ),
}


@dataclass(frozen=True, slots=True)
class SeedsForm:
    """`4`, `[11, 12]` or `{start: 100, count: 4, mode: increment}`."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> Seeds | None:
        if isinstance(node, Scalar):
            return self._counted(node, path, reading)
        if isinstance(node, tree.Sequence):
            return self._listed(node, path, reading)
        if isinstance(node, tree.Mapping) and self._is_random(node, path, reading):
            return None
        seeds = Seeds(**read_keys(node, path, _SEEDS_KEYS, reading, remedy=of_seeds))
        if seeds.start + seeds.count - 1 > MAX_SEED:
            reading.wrong(node.place, path, f"exceeds the largest seed, {MAX_SEED}")
        return seeds

    @staticmethod
    def _is_random(node: tree.Mapping, path: str, reading: Reading) -> bool:
        """Returns whether `start` or `count` asks for random seeds, and reports this: `mode` does so."""
        for key in ("start", "count"):
            value = node.get(key)
            if isinstance(value, Scalar) and value.text.lower() in value_remedies.RANDOM:
                remedy = (
                    "remove it, since `mode` already sets it"
                    if "mode" in node.entries
                    else "write `mode: random`"
                )
                message = f"must be a whole number, not {described(value)}; {remedy}"
                reading.wrong(value.place, f"{path}.{key}", message)
                return True
        return False

    @staticmethod
    def _counted(node: Scalar, path: str, reading: Reading) -> Seeds | None:
        """Returns the given number of seeds, unless the number can only be a seed."""
        number = _COUNT.number(node)
        if number is not None and 1 <= number <= reading.max_values:
            return Seeds(count=int(number))
        meant = value_remedies.seeds(node.text, reading.max_values)
        hint = value_remedies.write("", meant and f"seeds: {meant}")
        if number is not None and reading.max_values < number <= MAX_SEED:
            limit = f"`limits.max_images` ({reading.max_values:,})"
            message = (
                f"requests {int(number):,} images, more than {limit}; if it is a seed{hint.removeprefix(';')}"
            )
        else:
            rule = "must be a whole number of at least 1, a list of seeds or a mapping"
            message = f"{rule}, not {described(node)}{hint}"
        reading.wrong(node.place, path, message)
        return None

    @staticmethod
    def _listed(node: tree.Sequence, path: str, reading: Reading) -> Seeds | None:
        if not node.items:
            reading.wrong(node.place, path, "lists no seeds; write a count such as `seeds: 4`, or `[11, 12]`")
            return None
        only = node.items[0] if len(node.items) == 1 else None
        if isinstance(only, Scalar) and value_remedies.span(only.text):
            meant = value_remedies.seeds(only.text, reading.max_values)
            hint = value_remedies.write("", meant and f"seeds: {meant}")
            reading.wrong(
                only.place, f"{path}[0]", f"must be a whole number of at least 0, not {described(only)}{hint}"
            )
            return None
        for index, item in enumerate(node.items):
            if isinstance(item, Scalar) and item.text.lower() in value_remedies.RANDOM:
                remedy = f"write `seeds: {{mode: random, count: {len(node.items)}}}`"
                message = f"must be a whole number of at least 0, not {described(item)}; {remedy}"
                reading.wrong(item.place, f"{path}[{index}]", message)
                return None
        read = [_SEED.read(item, f"{path}[{i}]", reading) for i, item in enumerate(node.items)]
        values = [int(seed) for seed in read if seed is not None]
        for index, seed in enumerate(values):
            if len(values) == len(read) and seed in values[:index]:
                reading.wrong(node.items[index].place, f"{path}[{index}]", f"seed {seed} is listed twice")
        return Seeds(values=tuple(values), count=max(1, len(values)))

    def schema(self) -> dict[str, Any]:
        listed = {"type": "array", "items": _SEED.schema(), "minItems": 1, "uniqueItems": True}
        return {"anyOf": [_COUNT.schema(), listed, mapping_schema(_SEEDS_KEYS)]}


_SIDES = re.compile(r"([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})")
_RATIO = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:\s*[:/]\s*([0-9]{1,9}(?:\.[0-9]{1,9})?))?")
SIDE = Number(16, MAX_SIDE, whole=True)


@dataclass(frozen=True, slots=True)
class Aspect:
    """`2:3`, `2/3` or `1.5`."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> tuple[float, float] | None:
        match = _RATIO.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
        if match is None:
            text = node.text if isinstance(node, Scalar) else ""
            hint = value_remedies.write(text, value_remedies.aspect(text))
            reading.wrong(node.place, path, f"must be a ratio such as `2:3`, not {described(node)}{hint}")
            return None
        width, height = float(match[1]), float(match[2] or 1)
        if not (width and height and 1 / MAX_ASPECT <= width / height <= MAX_ASPECT):
            message = f"must be between 1:{MAX_ASPECT:g} and {MAX_ASPECT:g}:1, not {described(node)}"
            reading.wrong(node.place, path, message)
            return None
        return width, height

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?(\s*[:/]\s*\d+(\.\d+)?)?$"}


_SIZE_KEYS = {
    "aspect": Key(Aspect(), "Ratio of width to height, such as `2:3`."),
    "megapixels": Key(Number(0.01, 100), "Area; 1 is 1024 × 1024 pixels. Default: the model's."),
    "width": Key(SIDE, "Pixels."),
    "height": Key(SIDE, "Pixels."),
}


@dataclass(frozen=True, slots=True)
class SizeForm:
    """`832x1216`, `{aspect: 2:3, megapixels: 1}` or `{width: 832, height: 1216}`."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> Size | None:
        if isinstance(node, tree.Mapping):
            return self._mapped(node, path, reading)
        match = _SIDES.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
        if match is None:
            text = node.text if isinstance(node, Scalar) else ""
            example = "`832x1216` or `{aspect: 2:3, megapixels: 1}`"
            hint = value_remedies.write(text, value_remedies.size(text))
            reading.wrong(node.place, path, f"must be a size such as {example}, not {described(node)}{hint}")
            return None
        sides = [SIDE.read(Scalar(node.place, side), path, reading) for side in match.groups()]
        if sides[0] is None or sides[1] is None:
            return None
        return self._proportionate(Size(width=int(sides[0]), height=int(sides[1])), node, path, reading)

    def _mapped(self, node: tree.Mapping, path: str, reading: Reading) -> Size | None:
        values = read_keys(node, path, _SIZE_KEYS, reading, remedy=of_size)
        given = node.entries.keys()
        if not given <= _SIZE_KEYS.keys():
            return Size()
        if not given:
            reading.wrong(node.place, path, "is empty; write `832x1216` or `{aspect: 2:3, megapixels: 1}`")
        elif given & {"width", "height"} and (given & {"aspect", "megapixels"} or len(given) < 2):
            message = "takes both `width` and `height`, or `aspect` and `megapixels`"
            side = next(iter(values.values()), None) if len(given) == 1 else None
            hint = value_remedies.write("", side and f"{{width: {side}, height: {side}}}")
            reading.wrong(node.place, path, message + hint)
        return self._proportionate(Size(**values), node, path, reading)

    @staticmethod
    def _proportionate(size: Size, node: YamlNode, path: str, reading: Reading) -> Size:
        if size.width and size.height and not 1 / MAX_ASPECT <= size.width / size.height <= MAX_ASPECT:
            reading.wrong(
                node.place, path, f"has one side more than {MAX_ASPECT:g} times as long as the other"
            )
        return size

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^\s*\d+\s*[xX×]\s*\d+\s*$"}
        return {"anyOf": [text, mapping_schema(_SIZE_KEYS)]}


def mapping_schema(keys: dict[str, Key], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the JSON Schema of a mapping with exactly these keys."""
    properties = {name: {**key.kind.schema(), "description": key.about} for name, key in keys.items()}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema
