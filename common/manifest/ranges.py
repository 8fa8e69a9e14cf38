"""Numeric ranges `{from, to, step}` with both ends, in decimal arithmetic: 0.1 to 0.3 by 0.1 has 3 values."""

from __future__ import annotations

from decimal import Decimal, localcontext

from common.document import tree
from common.document.tree import Place, Scalar, child_path
from common.manifest.key_remedies import renamed
from common.manifest.plain_values import Number
from common.manifest.reading import Key, Reading, read_keys

_NUMBER = Number(-1e12, 1e12)
RANGE_KEYS = {
    "from": Key(_NUMBER, "First value."),
    "to": Key(_NUMBER, "Last value, included if the steps reach it exactly."),
    "step": Key(_NUMBER, "Difference between two values; negative to count down. Default: 1."),
}


#: Names of the ends and the step in other programs.
_RENAMED_TO = {
    **dict.fromkeys(("by", "increment", "steps", "interval"), "step"),
    **dict.fromkeys(("start", "first", "min", "begin"), "from"),
    **dict.fromkeys(("stop", "end", "last", "max", "until"), "to"),
}
_RENAMED = renamed(_RENAMED_TO)

#: Maximum number of values of an axis, regardless of `limits.max_images`, because all are kept in memory.
MAX_VALUES = 1_000_000


def too_many(count: int, place: Place, path: str, reading: Reading) -> bool:
    """Returns whether an axis has too many values, after reporting this."""
    if count > reading.max_values:
        limit = f"`limits.max_images` ({reading.max_values:,})"
        reading.wrong(place, path, f"has {count:,} values, more than {limit}")
    elif count > MAX_VALUES:
        remedy = "split it into two axes, or use `seeds`"
        reading.wrong(
            place, path, f"has {count:,} values, but an axis can have at most {MAX_VALUES:,}; {remedy}"
        )
    return count > min(reading.max_values, MAX_VALUES)


def ranged(node: tree.Mapping, path: str, reading: Reading) -> tuple[str, ...] | None:
    """Returns the values of a range as spelled; returns None after reporting problems.

    Checks the number of values before creating any.
    """
    read = read_keys(node, path, RANGE_KEYS, reading, remedy=_RENAMED)
    given = {_RENAMED_TO.get(key, key) for key in node.entries}
    for key in ("from", "to"):
        if key not in given:
            reading.wrong(node.place, path, f"`{key}` is missing")
    if not {"from", "to"} <= read.keys() or ("step" in node.entries and "step" not in read):
        return None
    first, last, step = (
        _decimal(node, key, default) for key, default in (("from", 0), ("to", 0), ("step", 1))
    )
    if step == 0 or (last - first) * step < 0:
        message = f"`step: {step}` never gets from {first} to {last}"
        reading.wrong(node.place, child_path(path, "step"), message)
        return None
    with localcontext(prec=60):
        count = int((last - first) / step) + 1
        if too_many(count, node.place, path, reading):
            return None
        return tuple([f"{first + step * number:f}" for number in range(count)])


def _decimal(node: tree.Mapping, key: str, default: int) -> Decimal:
    found = node.get(key)
    number = found.decimal() if isinstance(found, Scalar) else None
    return Decimal(default) if number is None else number
