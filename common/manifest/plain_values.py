"""Parsers of simple values: text, number, choice, switch, name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from common import lookalikes
from common.document import tree
from common.document.tree import Place, Scalar, YamlNode, described, flow
from common.manifest import prompt, value_remedies
from common.manifest.reading import Reading
from common.wording import did_you_mean, listed, nearest, quoted


def scalar_of(node: YamlNode, path: str, reading: Reading) -> Scalar | None:
    """Returns the scalar; returns None after reporting anything else, with a remedy."""
    if not isinstance(node, Scalar):
        reading.wrong(node.place, path, f"must be text, not {described(node)}{_as_text(node, reading)}")
        return None
    if node.kind == "null" and node.text == "":
        if not reading.text.is_commented(node.place):
            reading.wrong(node.place, path, "has no value")
        return None
    if node.kind == "null":
        message = f"`{node.text}` is text here; leave it out if no value is intended, or put it in quotes"
        reading.warn_at(path, message)
    if not node.style and node.text[-1] in lookalikes.TYPOGRAPHIC_QUOTES.get(node.text[0], ""):
        odd = lookalikes.named(node.text[0])
        reading.warn_at(path, f'{odd}, and is part of the text; write `"` for quotes that are not')
    return node


def _as_text(node: YamlNode, reading: Reading) -> str:
    """Suggests what to write for a list or mapping in place of a text."""
    if isinstance(node, tree.Sequence):
        parts = [item.text for item in node.items if isinstance(item, Scalar)]
        joined = flow(Scalar(node.place, ", ".join(parts)))
        return value_remedies.write("", joined) if parts and len(parts) == len(node.items) else ""
    braces = reading.text.braces(node)
    try:
        prompt.parse(braces)
    except prompt.PromptError:
        braces = braces.replace("{", "\\{").replace("}", "\\}")
    if len(braces) > value_remedies.LONGEST:
        return "; put it in quotes"
    return f"; put it in quotes: {quoted(braces)}" if braces else ""


@dataclass(frozen=True, slots=True)
class Text:
    """Any scalar as spelled in the source: `9:16`, `no` and `007` remain unchanged."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> str | None:
        scalar = scalar_of(node, path, reading)
        return scalar.text if scalar else None

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`, inclusive."""

    low: float
    high: float
    whole: bool = False
    #: Returns the end of the message for a text that other programs use here; empty if there is none.
    habit: Callable[[str], str] | None = None

    def read(self, node: YamlNode, path: str, reading: Reading) -> float | int | None:
        if problem := self.problem(node):
            reading.wrong(node.place, path, f"{problem}{self._remedy(node)}")
            return None
        return self.number(node)

    def number(self, node: YamlNode) -> float | int | None:
        """Returns the number even if it is out of bounds; None if the value is not such a number."""
        value = node.number() if isinstance(node, Scalar) else None
        if value is None or math.isnan(value) or (self.whole and value != int_or_nan(value)):
            return None
        return int(value) if self.whole and math.isfinite(value) else float(value)

    def problem(self, node: YamlNode) -> str | None:
        """Returns what is wrong with a value, without a remedy, or None."""
        value = self.number(node)
        noun = "a whole number" if self.whole else "a number"
        if value is None:
            return f"must be {noun}, not {described(node)}"
        if not self.low <= value <= self.high:
            return f"must be {noun} from {_counted(self.low)} to {_counted(self.high)}, not {described(node)}"
        return None

    def _remedy(self, node: YamlNode) -> str:
        if not isinstance(node, Scalar):
            return ""
        if self.habit is not None and (hint := self.habit(node.text)):
            return hint
        meant = value_remedies.number(node.text, self._fits)
        plain = lookalikes.plain(node.text).strip()
        if (
            meant is None
            and lookalikes.odd_character(node.text)
            and Scalar(node.place, plain).number() is not None
        ):
            # The number may also be out of bounds; this is reported once it is valid.
            meant = plain
        return value_remedies.write(node.text, meant)

    def _fits(self, text: str) -> bool:
        number = Scalar(Place(1, 1), text).number()
        if number is None or not math.isfinite(number) or (self.whole and number != int(number)):
            return False
        return self.low <= number <= self.high

    def schema(self) -> dict[str, Any]:
        kind = "integer" if self.whole else "number"
        return {"type": kind, "minimum": self.low, "maximum": self.high}


def _counted(bound: float) -> str:
    return f"{Decimal(str(bound)):,f}".removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Exact:
    """A number that keeps its digits as written, such as money."""

    number: Number

    def read(self, node: YamlNode, path: str, reading: Reading) -> Decimal | None:
        found = self.number.read(node, path, reading)
        return None if found is None or not isinstance(node, Scalar) else node.decimal()

    def schema(self) -> dict[str, Any]:
        return self.number.schema()


def int_or_nan(value: float) -> float:
    return int(value) if math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    #: As in `Number`.
    habit: Callable[[str], str] | None = None

    def read(self, node: YamlNode, path: str, reading: Reading) -> str | None:
        if isinstance(node, Scalar) and node.text in self.words:
            return node.text
        text = node.text if isinstance(node, Scalar) else ""
        bare = text.strip().removeprefix("image/").removeprefix(".")
        near = next((word for word in self.words if word == bare), None) or nearest(bare, self.words)
        hint = did_you_mean(text, near) if near else self.habit(text) if self.habit else ""
        reading.wrong(node.place, path, f"must be {listed(self.words, 'or')}, not {described(node)}{hint}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Switch:
    """`true` or `false`. In YAML 1.2, `yes`, `no`, `on` and `off` are text."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> bool | None:
        if isinstance(node, Scalar) and node.kind == "bool":
            return node.text.lower() == "true"
        text = node.text if isinstance(node, Scalar) else ""
        hint = value_remedies.write(text, value_remedies.switch(text))
        reading.wrong(node.place, path, f"must be `true` or `false`, not {described(node)}{hint}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Version:
    """The number 1."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> int | None:
        problem = self.problem(node)
        if problem:
            reading.wrong(node.place, path, problem)
        return None if problem else 1

    @staticmethod
    def problem(node: YamlNode) -> str | None:
        """Returns what is wrong with a value, or None."""
        if isinstance(node, Scalar) and node.number() == 1:
            return None
        text = node.text if isinstance(node, Scalar) else ""
        hint = "; write `1`" if text.strip().lower().lstrip("v") in ("1", "1.0") else ""
        return f"must be the number 1, not {described(node)}{hint}"

    def schema(self) -> dict[str, Any]:
        return {"const": 1}


NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


@dataclass(frozen=True, slots=True)
class Name:
    """A name for use in paths, queues and labels; `of` is the kind of catalog entry that it names, if any."""

    of: Literal["", "model", "LoRA", "sampler", "upscaler"] = ""

    def read(self, node: YamlNode, path: str, reading: Reading) -> str | None:
        if isinstance(node, Scalar) and re.fullmatch(NAME, node.text):
            return node.text
        rule = "must be a name of letters, digits, `.`, `_` and `-`, at most 63 characters"
        message = f"{rule}, not {described(node)}"
        text = node.text if isinstance(node, Scalar) else ""
        reading.wrong(node.place, path, message + value_remedies.write(text, self._suggested(text, reading)))
        return None

    def _suggested(self, text: str, reading: Reading) -> str | None:
        name = value_remedies.sampler(text) if self.of == "sampler" else value_remedies.slug(text)
        if name is None or not self.of or reading.catalog is None:
            return name
        models = reading.catalog.models
        known = {
            "model": dict.fromkeys(models),
            "LoRA": dict.fromkeys(reading.catalog.loras),
            "upscaler": dict.fromkeys(reading.catalog.upscalers),
            "sampler": {each: None for model in models.values() for each in model.family.samplers},
        }[self.of]
        return name if name in known else nearest(name, known)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"], "pattern": f"^{NAME}$"}


@dataclass(frozen=True, slots=True)
class Later:
    """A part that is read after the others."""

    shape: dict[str, Any]

    def read(self, node: YamlNode, path: str, reading: Reading) -> YamlNode:
        return node

    def schema(self) -> dict[str, Any]:
        return self.shape
