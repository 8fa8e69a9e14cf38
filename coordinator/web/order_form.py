"""The form of an order as a manifest: what people fill in who write no YAML."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from coordinator.web.visitor import Form

#: Aspects that the form offers, with what they are for.
ASPECTS = {
    "1:1": "square",
    "2:3": "portrait",
    "3:2": "landscape",
    "4:5": "feed",
    "9:16": "phone",
    "16:9": "wide",
}
#: Characters of a name that is taken from a prompt.
_NAME = 40

#: Prompts for people who look for an idea.
IDEAS = (
    "a {red|blue|green} ceramic mug on a wooden table, soft morning light",
    "portrait of a lighthouse keeper in a yellow raincoat, stormy sea behind, 50 mm photograph",
    "a small robot watering tomatoes in a greenhouse, storybook illustration",
    "isometric drawing of a night market in the rain, warm lanterns, wet cobblestones",
    "a {fox|hare|owl} reading a newspaper in a train compartment, watercolour",
    "product photograph of a leather notebook on grey linen, studio light, shallow depth of field",
    "a mountain hut at blue hour, first snow, one lit window, wide shot",
    "poster of a cargo bicycle, flat colours, thick outlines, cream paper",
)


class LoraLine(NamedTuple):
    name: str
    weight: float


class Order(NamedTuple):
    """What the form holds, as texts; empty: as the model has it."""

    name: str = ""
    model: str = ""
    prompt: str = ""
    negative: str = ""
    aspect: str = ""
    megapixels: str = ""
    images: str = "4"
    steps: str = ""
    guidance: str = ""
    seed: str = ""
    format: str = "png"
    priority: str = ""
    max_cost: str = ""
    loras: tuple[str, ...] = ()
    weights: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, form: Form) -> Order:
        texts = {name: form.text(name).strip() for name in cls._fields if name not in ("loras", "weights")}
        loras = tuple(form.texts("lora"))
        weights = tuple((name, form.text(f"weight:{name}", "1").strip()) for name in loras)
        return cls(**texts, loras=loras, weights=weights)

    def manifest(self) -> str:
        """The manifest as YAML. What is no number stays as it is: the parser tells what is wrong."""
        group: dict[str, Any] = {
            "name": "image",
            "model": self.model,
            "prompt": self.prompt,
            "negative": self.negative,
            "size": self._size(),
            "steps": _number(self.steps),
            "guidance": _number(self.guidance),
            "loras": [f"{name}@{weight or '1'}" for name, weight in self.weights],
            "seeds": self._seeds(),
        }
        manifest: dict[str, Any] = {
            "version": 1,
            "name": self.name or _name_of(self.prompt),
            "shots": [{key: value for key, value in group.items() if _is_given(value)}],
            "output": {"format": self.format} if self.format not in ("", "png") else "",
            "priority": _number(self.priority),
            "limits": {"max_cost": _number(self.max_cost)} if self.max_cost else "",
        }
        given = {key: value for key, value in manifest.items() if _is_given(value)}
        return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100)

    def _size(self) -> Any:
        if not self.aspect:
            return ""
        return {"aspect": self.aspect, "megapixels": _number(self.megapixels or "1")}

    def _seeds(self) -> Any:
        count = _number(self.images or "1")
        if self.seed:
            return {"start": _number(self.seed), "count": count}
        return count


def _name_of(prompt: str) -> str:
    """The first words of a prompt as the name of a job."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", prompt.lower()).strip("-")
    return words[:_NAME].rpartition("-")[0] if len(words) > _NAME else words or "images"


def _is_given(value: Any) -> bool:
    return value not in ("", [], None)


def _number(text: str) -> Any:
    """`4`, `4.5`, or the text if it is no number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
