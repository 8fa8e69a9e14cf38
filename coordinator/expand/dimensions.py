"""Dimensions: the factors of the product of a group, with axis values and their lookup."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from common.manifest.model import NOTHING, Axis, Group, ShotFields, Spelling
from common.manifest.presets import PROMPTS, is_around, with_presets
from common.shot import AXIS_TEXT
from common.wording import nearest, shortened


@dataclass(frozen=True, slots=True, eq=False)
class Setter:
    """Shot fields set at one place of the manifest; compared by identity."""

    path: str
    #: Values of the fields that are set, by name.
    given: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, fields: ShotFields) -> Setter:
        given = {name: getattr(fields, name) for name in ShotFields.model_fields}
        del given["preset"]
        return cls(path, {name: value for name, value in given.items() if value not in (None, ())})

    @classmethod
    def all_of(
        cls, path: str, fields: ShotFields, presets: Mapping[str, ShotFields]
    ) -> tuple[tuple[Setter, ...], tuple[Setter, ...]]:
        """What a place and its presets set, the later over the earlier, and the prompts of its presets that
        are put around others."""
        inner: list[Setter] = []
        around: list[Setter] = []
        for place, each in with_presets(path, fields, presets):
            setter = cls.of(place, each)
            outer = {
                name for name in PROMPTS if place != path and is_around(setter.given.get(name, ""), name)
            }
            for into, names in ((inner, setter.given.keys() - outer), (around, outer)):
                if names:
                    given = {name: value for name, value in setter.given.items() if name in names}
                    into.append(cls(place, given))
        return tuple(inner), tuple(around)

    def place(self, name: str) -> str:
        """Path of a field; an axis with the name of the field, or `lora`, is the field itself."""
        axis = self.path.rpartition("[")[0].rpartition(".axes.")[2]
        return self.path if axis in (name, name.removesuffix("s")) else f"{self.path}.{name}"


class Value(NamedTuple):
    """One value of an axis; plain text is a mapping with only a `name`."""

    spelling: Spelling
    #: Position in its axis, from 0.
    position: int
    #: Path of the axis, or of the `include` entry that adds the value.
    parent: str
    #: Whether variants and wildcards in its texts expand.
    expand: bool = False

    def text(self, name: str = "") -> str | None:
        """The text of `{axis.name}`, or of `{axis}`; None if the field does not exist."""
        if name == "index":
            return str(self.position)
        if isinstance(self.spelling, str):
            return self.spelling if name in ("", "name") else None
        return self.spelling.get(name or "name")

    def label(self) -> str:
        """What tells it from others of its axis, for people: its text, cut short, or else its position."""
        text = self.text()
        return str(self.position) if text is None else text[:AXIS_TEXT]

    def path(self, name: str) -> str:
        """The path in the manifest of `text(name)`."""
        path = f"{self.parent}[{self.position}]" if ".axes." in self.parent else self.parent
        return path if isinstance(self.spelling, str) else f"{path}.{name or 'name'}"


#: Cached rows of a dimension; the last dimension cycles through all of its rows.
_ROWS_KEPT = 65_536

#: Required texts by axis and field; a mapping is expanded to all of its fields.
Conditions = Mapping[tuple[str, str], Spelling]
_Reading = Callable[[str], Hashable]


class Dimension:
    """One factor of the product: an axis, or several zipped axes. Values are built lazily."""

    def __init__(
        self, path: str, group: Group, presets: Mapping[str, ShotFields], names: tuple[str, ...]
    ) -> None:
        """`path` is the path of the group."""
        self.names = names
        self._axes: list[tuple[str, Axis]] = [(f"{path}.axes.{name}", group.axes[name]) for name in names]
        self._size = len(self._axes[0][1].values) if names else 0
        self._setters: dict[int, tuple[Setter, ...]] = {}
        for parent, axis in self._axes:
            for at, fields in enumerate(axis.sets):
                if fields is not NOTHING and fields != NOTHING:
                    inner, around = Setter.all_of(f"{parent}[{at}]", fields, presets)
                    self._setters[at] = (*self._setters.get(at, ()), *inner, *around)
        self.row = lru_cache(maxsize=_ROWS_KEPT)(self._row)
        #: Positions by axis and field, and by text.
        self._positions: dict[tuple[str, str, _Reading], dict[Hashable, list[int]]] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def sets(self) -> bool:
        """Whether any value sets a shot field."""
        return bool(self._setters)

    def _row(self, at: int) -> list[Value]:
        """The values at one position, in the order of `names`."""
        return [Value(axis.values[at], at, parent, axis.expand) for parent, axis in self._axes]

    def setters(self, at: int) -> tuple[Setter, ...]:
        return self._setters.get(at, ())

    def values(self, name: str) -> Iterator[Value]:
        """All values of one of its axes."""
        parent, axis = self._axes[self.names.index(name)]
        return (Value(spelling, at, parent, axis.expand) for at, spelling in enumerate(axis.values))

    def matching(self, conditions: Conditions) -> frozenset[int] | None:
        """Positions whose values satisfy all conditions on its axes; None if there are none."""
        found = [frozenset(self._having(*each)) for each in _flat(conditions) if each[0] in self.names]
        return frozenset.intersection(*found) if found else None

    def unmatched(self, conditions: Conditions) -> str:
        """A message about a required text that no value has, with a suggestion; empty if all exist."""
        for axis, name, text in _flat(conditions):
            if axis in self.names and not self._having(axis, name, text):
                near = nearest(text, (str(known) for known in self._indexed(axis, name, str)))
                hint = f": did you mean `{shortened(near)}`?" if near else ""
                return f"no value of `{f'{axis}.{name}' if name else axis}` is `{shortened(text)}`{hint}"
        return ""

    def _having(self, axis: str, name: str, text: str) -> Sequence[int]:
        """Positions with this text or, if there are none, with the same number: `3` for `3.0`."""
        same = self._indexed(axis, name, str).get(text)
        return same or self._indexed(axis, name, _number).get(_number(text), ())

    def _indexed(self, axis: str, name: str, reading: _Reading) -> Mapping[Hashable, Sequence[int]]:
        if (axis, name, reading) not in self._positions:
            found: dict[Hashable, list[int]] = {}
            for value in self.values(axis):
                text = value.text(name)
                read = None if text is None else reading(text)
                if read is not None:
                    found.setdefault(read, []).append(value.position)
            self._positions[axis, name, reading] = found
        return self._positions[axis, name, reading]


def _flat(conditions: Conditions) -> Iterator[tuple[str, str, str]]:
    """The axis, field and text of every condition."""
    for (axis, name), wanted in conditions.items():
        if isinstance(wanted, str):
            yield axis, name, wanted
        else:
            yield from ((axis, key, text) for key, text in wanted.items())


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def dimensions(path: str, group: Group, presets: Mapping[str, ShotFields]) -> list[Dimension]:
    """The factors of the product in written order; a zip has the position of its first axis."""
    if not group.axes and group.include:
        # As in CI matrices, `include` alone adds every combination.
        return [Dimension(path, group, presets, ())]
    return [Dimension(path, group, presets, names) for names in group.factors()]


def axis_and_field(key: str, group: Group) -> tuple[str, str]:
    """Splits `format.name` into axis and field; if an axis has the whole name, it takes precedence."""
    if key in group.axes:
        return key, ""
    axis, _, name = key.partition(".")
    return (axis, name) if axis in group.axes else (key, "")
