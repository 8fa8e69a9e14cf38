"""The keys that say what a shot is. One table for the parser, the JSON Schema and the reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.document.nodes import Node, Scalar, Sequence, described, flow
from common.manifest.plain_values import Choice, Name, Number, Text
from common.manifest.reading import Key, Kind, Reading
from common.manifest.shot_values import Loras, OneLora, RowSeed, SeedsForm, SizeForm
from common.manifest.value_remedies import spelled_range, write

#: Words for a value that is not given.
_OWN = ("auto", "default", "none", "null", "~")
#: Values that a text of one line may hold.
_FEW = 20

#: What an axis may set: an axis of that name, or that key inside a mapping value.
AXIS_FIELDS = {
    "model": Key(Name("model"), "Name of a model in the farm's catalog (`farm models`)."),
    "prompt": Key(
        Text(),
        "What to draw. `{axis}` and `{axis.field}` refer to axes, `{a|b}` and `__wildcard__` are drawn per "
        "shot, `{trigger}` is the trigger words of the shot's LoRAs.",
    ),
    "negative": Key(
        Text(), "What not to draw, where the model's family takes it; the same syntax as `prompt`."
    ),
    "loras": Key(
        Loras(), "LoRAs of the catalog as `name@weight`. They add up over defaults, group and axes."
    ),
    "size": Key(SizeForm(), "Pixels as `832x1216`, or `{aspect: 2:3, megapixels: 1}`."),
    "steps": Key(Number(1, 1000, whole=True), "Denoising steps; the model's own if not given."),
    "guidance": Key(Number(0, 100), "Guidance scale; the model's own if not given."),
    "sampler": Key(Name("sampler"), "Sampler of the model's family; the model's own if not given."),
    "shift": Key(Number(0, 100), "Timestep shift, for families that take it."),
    "blind_steps": Key(
        Number(0, 20, whole=True), "First steps that do not see the prompt, for more variety between seeds."
    ),
}


@dataclass(frozen=True, slots=True)
class One:
    """A single value where several would be an axis."""

    name: str
    kind: Kind

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if isinstance(node, Sequence):
            reading.wrong(
                node.place, path, f"takes one value, not {described(node)}{self._of_list(node, path)}"
            )
            return None
        if isinstance(node, Scalar) and not isinstance(self.kind, Text) and node.text.lower() in _OWN:
            message = (
                f"must be a value, not {described(node)}; remove it, since the model's own is taken then"
            )
            reading.wrong(node.place, path, message)
            return None
        if isinstance(node, Scalar) and (several := self._several(node, reading)):
            reading.wrong(
                node.place, path, f"takes one value, not {described(node)}{self._varied(several, path)}"
            )
            return None
        return self.kind.read(node, path, reading)

    def _of_list(self, node: Sequence, path: str) -> str:
        texts = [item.text for item in node.items if isinstance(item, Scalar)]
        if (
            self.name == "size"
            and len(texts) == 2
            and all(re.fullmatch(r"[0-9]{2,5}", text) for text in texts)
        ):
            return f"; write `{'x'.join(texts)}`"
        if len(texts) < len(node.items):
            return ""
        if self.name == "negative" and texts:
            return write("", flow(Scalar(node.place, ", ".join(texts))))
        if len(node.items) == 1:
            return write("", flow(node.items[0]))
        return self._varied(flow(node), path) if node.items else ""

    def _several(self, node: Scalar, reading: Reading) -> str | None:
        """The values that `10, 20` or `4-8` stands for, as an axis has them."""
        if isinstance(self.kind, Text) or node.style:
            return None
        if isinstance(self.kind, Number) and (found := spelled_range(node.text)):
            return found
        parts = re.split(r"\s*[,;|]\s+|\s*\|\s*", node.text.strip())
        if len(parts) < 2 or len(parts) > _FEW:
            return None
        scratch = Reading(reading.text, None)
        for part in parts:
            self.kind.read(Scalar(node.place, part), "", scratch)
        return f"[{', '.join(parts)}]" if not scratch.problems else None

    def _varied(self, values: str, path: str) -> str:
        where = "`axes:`" if path.startswith("shots") else "the `axes:` of a group"
        line = f"{self.name}: {values}"
        return (
            f"; to vary it, write `{line}` under {where}"
            if len(line) <= 200
            else f"; to vary it, write it under {where}"
        )

    def schema(self) -> dict[str, Any]:
        return self.kind.schema()


#: What `defaults` and a group may set.
SHOT_KEYS = {
    **{
        name: key if name == "loras" else Key(One(name, key.kind), key.about)
        for name, key in AXIS_FIELDS.items()
    },
    "seeds": Key(SeedsForm(), "How many seeds (`4`), which (`[11, 12]`), or `{start, count, mode}`."),
    "variants": Key(
        Choice(("random", "combinatorial")),
        "Whether `{a|b}` and wildcards are drawn once per shot (`random`) or multiply the shots.",
    ),
}

#: The singular, for mapping values and axes that carry one LoRA each.
AXIS_KEYS = {**AXIS_FIELDS, "lora": Key(OneLora(), "One LoRA as `name@weight`.")}

#: What the fields of a mapping value, the columns of a table and `include` may set.
VALUE_KEYS = {
    **AXIS_KEYS,
    "seed": Key(RowSeed(), "First seed of this value's shots, in place of that of `seeds`."),
}
