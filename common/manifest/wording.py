"""How values and names read inside messages, and the known word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from common.manifest import yaml_nodes as nodes
from common.manifest.yaml_nodes import Node

_LIMIT = 60
#: Characters of a dotted path.
MAX_PATH = 300


def shortened(text: str, limit: int = _LIMIT) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text[: limit * 2].split())
    return line if len(line) <= limit and len(text) <= limit * 2 else f"{line[: limit - 1]}…"


def described(node: Node) -> str:
    """What stands where something else should."""
    match node:
        case nodes.Sequence():
            return "a list" if node.items else "an empty list"
        case nodes.Mapping():
            return "a mapping" if node.entries else "an empty mapping"
        case nodes.Scalar() if node.kind == "null":
            return "nothing"
    quoted = node.style and nodes.Scalar(node.place, node.text).kind in ("int", "float", "bool")
    return f"`{shortened(node.text)}`{' in quotes' if quoted else ''}"


def spelling(node: Node) -> str:
    """How a value reads where a text refers to it."""
    match node:
        case nodes.Scalar():
            return node.text
        case nodes.Sequence():
            return ", ".join(spelling(item) for item in node.items)
    return ", ".join(f"{key} {spelling(value)}" for key, _, value in node.items())


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant; None if none is near."""
    by_lower = {name.lower(): name for name in known}
    if word.lower() in by_lower:
        return by_lower[word.lower()]
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """`: did you mean `prompt`?`, or the known words where none is near."""
    words = list(known)
    near = nearest(word, words)
    if near is not None:
        return f": did you mean `{near}`?"
    if not words:
        return ""
    shown = ", ".join(f"`{name}`" for name in words[:12])
    return f"; known are {shown}" + (" …" if len(words) > 12 else "")
