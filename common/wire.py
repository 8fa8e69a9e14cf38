"""What texts, numbers and nesting on the wire must be for every database and every answer to hold them."""

from __future__ import annotations

import math
from typing import Any

#: Levels of lists and objects inside one another.
MAX_DEPTH = 16
#: What databases keep.
_INTEGERS = range(-(2**63), 2**63)


def storable(value: Any, depth: int = 0) -> Any:
    """`value`, as JSON gave it, without NULs: PostgreSQL keeps no text that has one.

    Raises ValueError for half a surrogate pair (UTF-8 cannot say it), a whole number of more than 64 bits,
    a number that is none, and more than `MAX_DEPTH` levels.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value not in _INTEGERS:
        raise ValueError("a whole number has 64 bits at the most")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    if isinstance(value, (dict, list, tuple)):
        if depth == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of lists and objects")
        if isinstance(value, dict):
            return {storable(name, depth): storable(item, depth + 1) for name, item in value.items()}
        return [storable(item, depth + 1) for item in value]
    return value


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half a surrogate pair, which UTF-8 cannot say") from None
    return text.replace("\0", "")
