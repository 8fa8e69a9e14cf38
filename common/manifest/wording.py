"""How values and names read inside messages and texts."""

from __future__ import annotations

from common.manifest import nodes
from common.manifest.nodes import Node

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
