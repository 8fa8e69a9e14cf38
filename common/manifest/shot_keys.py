"""The keys of shot settings, in one table for the parser, the JSON Schema and the reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.catalog.compatibility import NO_UPSCALER
from common.document.tree import Scalar, Sequence, YamlNode, described, flow
from common.manifest.plain_values import Choice, Name, Number, Switch, Text
from common.manifest.reading import Key, Kind, Reading, would_read
from common.manifest.shot_values import Loras, OneLora, PresetNames, RowSeed, SeedsForm, SizeForm
from common.manifest.value_remedies import LONGEST, spelled_range, variants, write

#: Words that mean the default value.
_OWN = ("auto", "default", "none", "null", "~")
#: Maximum number of values in the suggestion for a text on one line.
_FEW = 20

#: Keys that an axis can set: as its name, or as keys in a mapping value.
AXIS_FIELDS = {
    "model": Key(Name("model"), "Name of a model in the farm's catalog (`farm models`)."),
    "prompt": Key(
        Text(),
        "What the image shows. `{axis}` and `{axis.field}` refer to axes, `{a|b}` and `__wildcard__` are "
        "drawn per shot, `{trigger}` inserts the trigger words of the shot's LoRAs.",
    ),
    "negative": Key(
        Text(), "What the image must not show, if the model's family supports it; same syntax as `prompt`."
    ),
    "preset": Key(PresetNames(), "Name of a preset under `presets` to apply, or a list of names."),
    "loras": Key(
        Loras(), "LoRAs of the catalog as `name@weight`. LoRAs from defaults, group and axes are combined."
    ),
    "size": Key(
        SizeForm(), "Width and height in pixels, such as `832x1216`, or `{aspect: 2:3, megapixels: 1}`."
    ),
    "steps": Key(Number(1, 1000, whole=True), "Number of denoising steps. Default: the model's."),
    "guidance": Key(Number(0, 100), "Guidance scale. Default: the model's."),
    "sampler": Key(Name("sampler"), "Sampler of the model's family. Default: the model's."),
    "shift": Key(Number(0, 100), "Timestep shift, for families that support it."),
    "blind_steps": Key(
        Number(0, 20, whole=True),
        "Number of initial steps that ignore the prompt, for more variety between seeds.",
    ),
    "clip_skip": Key(
        Number(1, 12, whole=True),
        "Layer of the text encoder that is read, counted from the last (1), for families that support it.",
    ),
    "upscale": Key(
        Name("upscaler"),
        "Upscaler of the catalog that enlarges the finished image; `none` for none. Default: `none`.",
    ),
}


@dataclass(frozen=True, slots=True)
class One:
    """A single value; several values must be an axis."""

    name: str
    kind: Kind

    def read(self, node: YamlNode, path: str, reading: Reading) -> Any:
        hint = ""
        if isinstance(node, Sequence):
            hint = self._of_list(node, path, reading)
        elif isinstance(node, Scalar) and self._means_default(node.text.lower()):
            hint = "; remove it to use the model's default"
        elif isinstance(node, Scalar):
            hint = self._of_text(node, path, reading)
        if hint or isinstance(node, Sequence):
            reading.wrong(node.place, path, f"takes one value, not {described(node)}{hint}")
            return None
        return self.kind.read(node, path, reading)

    def _means_default(self, text: str) -> bool:
        if isinstance(self.kind, Text) or (self.name == "upscale" and text == NO_UPSCALER):
            return False
        return text in _OWN

    def _of_list(self, node: Sequence, path: str, reading: Reading) -> str:
        texts = [item.text for item in node.items if isinstance(item, Scalar)]
        if not texts or len(texts) < len(node.items):
            return ""
        one = flow(node.items[0])
        if self.name == "size" and len(texts) == 2 and all(text.isdecimal() for text in texts):
            one = "x".join(texts)
        elif self.name == "negative":
            one = flow(Scalar(node.place, ", ".join(texts)))
        elif len(texts) > 1:
            return self._varied([flow(item) for item in node.items], path, reading)
        return write("", one) if would_read(self.kind, f"{self.name}: {one}", reading) else ""

    def _of_text(self, node: Scalar, path: str, reading: Reading) -> str:
        """Suggests what to write for a text such as `10, 20` or `4-8` in place of one number or name."""
        if isinstance(self.kind, Text) or node.style:
            return ""
        if isinstance(self.kind, Number) and (found := spelled_range(node.text)):
            return self._under_axes(found, path)
        parts = re.split(r"\s*[,;|]\s+|\s*\|\s*", node.text.strip())
        right = all(would_read(self.kind, f"{self.name}: {part}", reading) for part in parts)
        return self._varied(parts, path, reading) if 1 < len(parts) <= _FEW and right else ""

    def _varied(self, values: list[str], path: str, reading: Reading) -> str:
        right = all(would_read(self.kind, f"{self.name}: {value}", reading) for value in values[:_FEW])
        return self._under_axes(f"[{', '.join(values)}]" if right else "", path)

    def _under_axes(self, values: str, path: str) -> str:
        where = "`axes:`" if path.startswith("shots") else "the `axes:` of a group"
        line = f"`{self.name}: {values}`" if values and len(values) <= LONGEST else "it"
        return f"; to vary it, write {line} under {where}"

    def schema(self) -> dict[str, Any]:
        return self.kind.schema()


#: Keys that `defaults` and groups can set.
SHOT_KEYS = {
    **{
        name: key if name in ("loras", "preset") else Key(One(name, key.kind), key.about)
        for name, key in AXIS_FIELDS.items()
    },
    "seeds": Key(
        SeedsForm(), "Number of seeds (`4`), list of seeds (`[11, 12]`), or `{start, count, mode}`."
    ),
    "variants": Key(
        Choice(("random", "combinatorial"), habit=variants),
        "Whether `{a|b}` and wildcards are drawn once per shot (`random`) or multiply the shots "
        "(`combinatorial`).",
    ),
    "allow_empty": Key(Switch(), "Whether shots may have an empty prompt. Default: `false`."),
}

#: Also `lora`, for mapping values and axes with one LoRA each.
AXIS_KEYS = {**AXIS_FIELDS, "lora": Key(OneLora(), "One LoRA as `name@weight`.")}

#: Keys that mapping values, columns of tables and `include` can set.
VALUE_KEYS = {
    **AXIS_KEYS,
    "seed": Key(RowSeed(), "First seed of the shots with this value, instead of that of `seeds`."),
}
