"""How words read inside messages, and the known one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LIMIT = 60
#: Characters of a dotted path.
MAX_PATH = 300


def shortened(text: str, limit: int = _LIMIT) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text[: limit * 2].split())
    return line if len(line) <= limit and len(text) <= limit * 2 else f"{line[: limit - 1]}…"


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
