"""The keys that say what a shot is. One table for the parser, the JSON Schema and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.document.nodes import Node, Sequence
from common.manifest.plain_values import Choice, Name, Number, Text
from common.manifest.reading import Key, Kind, Reading
from common.manifest.shot_values import Loras, OneLora, SeedsForm, SizeForm

#: What an axis may set: an axis of that name, or that key inside a mapping value.
AXIS_FIELDS = {
    "model": Key(Name(), "Name of a model in the farm's catalog (`farm models`)."),
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
    "sampler": Key(Name(), "Sampler of the model's family; the model's own if not given."),
    "shift": Key(Number(0, 100), "Timestep shift, for families that take it."),
    "blind_steps": Key(
        Number(0, 20, whole=True), "First steps that do not see the prompt, for more variety between seeds."
    ),
}


@dataclass(frozen=True, slots=True)
class One:
    """A single value where several would be an axis."""

    kind: Kind

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if isinstance(node, Sequence):
            reading.wrong(node.place, path, "takes one value, not a list; to vary it, write it under `axes:`")
            return None
        return self.kind.read(node, path, reading)

    def schema(self) -> dict[str, Any]:
        return self.kind.schema()


_LISTS_OR_TEXTS = ("prompt", "negative", "loras")

#: What `defaults` and a group may set.
SHOT_KEYS = {
    **{
        name: key if name in _LISTS_OR_TEXTS else Key(One(key.kind), key.about)
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
