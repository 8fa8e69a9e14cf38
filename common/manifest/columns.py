"""Warns of columns and fields of axis values whose effect may be unexpected.

There is one warning per axis for fields that were recognised by their name in another program, and one for
each field that resembles a setting but sets nothing. Other unused columns are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from common.document.tree import child_path
from common.manifest.aliases import SIDES, field_of, without
from common.manifest.model import Axis, Group
from common.manifest.reading import Reading
from common.manifest.references import read_by
from common.manifest.shot_keys import VALUE_KEYS
from common.wording import did_you_mean, nearest, shortened

#: A longer heading that only begins like a field, such as `Size chart`, is probably unrelated.
_SLIPS = 2

_NO_FIELDS: frozenset[str] = frozenset()


def check_columns(values: Mapping[str, object], groups: tuple[Group, ...], reading: Reading) -> None:
    """Warns of fields of axis values; `values` are the valid parts of the manifest."""
    for number, group in enumerate(groups):
        read = read_by(number, group, values)
        for name, axis in group.axes.items():
            path = f"shots[{number}].axes.{name}"
            keys = dict.fromkeys(key for value in axis.values if isinstance(value, dict) for key in value)
            plain = reading.plain.get(path, _NO_FIELDS)
            messages = _axis_warnings(name, axis, [key for key in keys if key not in plain], read)
            for message in messages:
                reading.warn_at(path, message, kind=f"{path}: {message}")
        for index, entry in enumerate(group.include):
            for key in entry:
                if key not in group.axes and (warning := _taken(key) or _unread(key, group, read)):
                    reading.warn_at(child_path(f"shots[{number}].include[{index}]", key), warning)


def _axis_warnings(name: str, axis: Axis, keys: list[str], read: Set[tuple[str, str]]) -> Iterator[str]:
    if axis.sets and not keys and (taken := _taken(name)):
        yield taken
    fields = {key: field_of(key) for key in keys if key not in VALUE_KEYS}
    has_sides = set(SIDES) <= set(fields.values())
    taken_for: dict[str, list[str]] = {}
    for key, field in fields.items():
        if field is not None and (field not in SIDES or has_sides):
            taken_for.setdefault("size" if field in SIDES else field, []).append(f"`{shortened(key)}`")
        elif (name, key) not in read and (why := _unused_setting(key)):
            yield why
    if taken_for:
        yield "reads " + ", ".join(
            f"{' and '.join(theirs)} as `{ours}`" for ours, theirs in taken_for.items()
        )


def _taken(key: str) -> str | None:
    """Returns a warning for an axis or `include` key with the name of a field in another program, or None."""
    field = None if key in VALUE_KEYS else field_of(key)
    if field is None:
        return None
    if field in SIDES:
        return f"`{key}` sets nothing; write `size: 832x1216`"
    return f"`{shortened(key)}` is read as `{field}`"


def _unread(key: str, group: Group, read: Set[tuple[str, str]]) -> str | None:
    """Returns a warning for an `include` key that is not an axis, sets nothing and is unused, or None."""
    if key in VALUE_KEYS or any(name == key for name, _ in read):
        return None
    near = nearest(key, group.axes)
    hint = did_you_mean(key, near) if near else ""
    return f"`{shortened(key)}` is not an axis of this group, and nothing refers to it{hint}"


def _unused_setting(key: str) -> str | None:
    """Returns a warning for an unused field that resembles a setting, or None."""
    word = shortened(key)
    if field_of(key) in SIDES:
        other = next(side for side in SIDES if side != field_of(key))
        return f"`{word}` sets nothing without `{other}`; give both, or `size`"
    if why := without(key):
        return f"`{word}` sets nothing: {why}"
    near = nearest(key, VALUE_KEYS)
    if near is None or abs(len(near) - len(key)) > _SLIPS:
        return None
    return f"`{word}` sets nothing, and nothing refers to it{did_you_mean(key, near)}"
