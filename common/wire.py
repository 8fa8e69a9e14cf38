"""Limits on texts, numbers and nesting in messages that every database and every response can hold."""

from __future__ import annotations

import math
from typing import Any

#: Maximum nesting of lists and objects.
MAX_DEPTH = 16
#: Range of integers that databases can store.
_INTEGERS = range(-(2**63), 2**63)


def storable(value: Any, depth: int = 0) -> Any:
    """Returns `value`, parsed from JSON, without NUL characters, which PostgreSQL cannot store in text.

    Raises ValueError for an unpaired surrogate (not valid in UTF-8), an integer of more than 64 bits, NaN or
    an infinite number, and more than `MAX_DEPTH` levels of nesting.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value not in _INTEGERS:
        raise ValueError("integers are limited to 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
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
            raise ValueError(
                "a string contains an unpaired surrogate, which UTF-8 cannot represent"
            ) from None
    return text.replace("\0", "")
