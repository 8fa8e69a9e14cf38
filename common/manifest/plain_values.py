"""The plain kinds of value: text, number, choice, switch, name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from common.document.nodes import Node, Scalar, described
from common.manifest.reading import Reading
from common.wording import nearest, shortened


def scalar_of(node: Node, path: str, reading: Reading) -> Scalar | None:
    """The scalar where one is expected; None after saying what to do about anything else."""
    if not isinstance(node, Scalar):
        message = f"must be text, and this reads as {described(node)}; put it in quotes"
        reading.wrong(node.place, path, message)
        return None
    if node.kind == "null" and node.text == "":
        reading.wrong(node.place, path, f"has no value{_commented(node, reading)}")
        return None
    return node


#: A `#ff0000` where a value should begin.
_COMMENT = re.compile(r"-?[ \t]*(#\S+)")


def _commented(node: Scalar, reading: Reading) -> str:
    """What to write where YAML took the value for a comment."""
    comment = _COMMENT.match(reading.text.content, node.place.index)
    return f'; `#` begins a comment, so quote it: `"{shortened(comment[1])}"`' if comment else ""


@dataclass(frozen=True, slots=True)
class Text:
    """Any scalar in its source spelling: `9:16`, `no` and `007` stay what they look like."""

    def read(self, node: Node, path: str, reading: Reading) -> str | None:
        scalar = scalar_of(node, path, reading)
        return scalar.text if scalar else None

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`, both included."""

    low: float
    high: float
    whole: bool = False

    def read(self, node: Node, path: str, reading: Reading) -> float | int | None:
        value = node.number() if isinstance(node, Scalar) else None
        noun = "a whole number" if self.whole else "a number"
        if value is None or math.isnan(value) or (self.whole and value != int_or_nan(value)):
            reading.wrong(node.place, path, f"must be {noun}, not {described(node)}{self._remedy(node)}")
            return None
        if not self.low <= value <= self.high:
            message = f"must be {noun} from {self.low:,} to {self.high:,}, not {described(node)}"
            reading.wrong(node.place, path, message)
            return None
        return int(value) if self.whole else float(value)

    @staticmethod
    def _remedy(node: Node) -> str:
        if not isinstance(node, Scalar) or not _GROUPED.fullmatch(node.text):
            return ""
        return f"; write `{re.sub('[_,]', '', node.text)}`"

    def schema(self) -> dict[str, Any]:
        kind = "integer" if self.whole else "number"
        return {"type": kind, "minimum": self.low, "maximum": self.high}


#: Thousands set apart, as `20_000` or `20,000`.
_GROUPED = re.compile(r"\d{1,3}(?:[_,]\d{3}){1,4}")


def int_or_nan(value: float) -> float:
    return int(value) if math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, node: Node, path: str, reading: Reading) -> str | None:
        if isinstance(node, Scalar) and node.text in self.words:
            return node.text
        words = " or ".join(f"`{word}`" for word in self.words)
        near = nearest(node.text, self.words) if isinstance(node, Scalar) else None
        hint = f": did you mean `{near}`?" if near else ""
        reading.wrong(node.place, path, f"must be {words}, not {described(node)}{hint}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Switch:
    """`true` or `false`; `yes`, `no`, `on` and `off` are text in YAML 1.2."""

    def read(self, node: Node, path: str, reading: Reading) -> bool | None:
        if isinstance(node, Scalar) and node.kind == "bool":
            return node.text.lower() == "true"
        reading.wrong(node.place, path, f"must be `true` or `false`, not {described(node)}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that can stand in paths, queues and labels."""

    def read(self, node: Node, path: str, reading: Reading) -> str | None:
        if isinstance(node, Scalar) and re.fullmatch(NAME, node.text):
            return node.text
        message = f"must be a name of letters, digits, `.`, `_` and `-`, at most 63, not {described(node)}"
        reading.wrong(node.place, path, message)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"], "pattern": f"^{NAME}$"}


@dataclass(frozen=True, slots=True)
class Later:
    """A part that is read once the rest is known."""

    shape: dict[str, Any]

    def read(self, node: Node, path: str, reading: Reading) -> Node:
        return node

    def schema(self) -> dict[str, Any]:
        return self.shape
