"""Axes: the values a group's shots vary over, and what matches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.manifest.model import NOTHING, Group, ShotFields, Spelling


@dataclass(frozen=True, slots=True, eq=False)
class Setter:
    """Shot fields that one place of the manifest sets; equal only to itself."""

    path: str
    #: Field name to value; only those that are set.
    given: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, fields: ShotFields) -> Setter:
        given = {name: getattr(fields, name) for name in ShotFields.model_fields}
        return cls(path, {name: value for name, value in given.items() if value not in (None, ())})

    def place(self, name: str) -> str:
        """Path of the field; an axis named like it, or `lora`, is the field itself."""
        axis = self.path.rpartition("[")[0].rpartition(".axes.")[2]
        return self.path if axis in (name, name.removesuffix("s")) else f"{self.path}.{name}"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis; a plain text is a mapping that has only a `name`."""

    spelling: Spelling
    #: Position in its axis, from 0.
    index: int
    #: Of the axis, or of the `include` entry that makes the value.
    parent: str
    setter: Setter | None = None
    #: Whether variants and wildcards in its texts expand.
    expand: bool = False

    def text(self, name: str = "") -> str | None:
        """What `{axis.name}` reads, or `{axis}`; None where it has no such field."""
        if name == "index":
            return str(self.index)
        if isinstance(self.spelling, str):
            return self.spelling if name in ("", "name") else None
        return self.spelling.get(name or "name")

    def path(self, name: str) -> str:
        """Where the manifest says what `text(name)` is."""
        path = f"{self.parent}[{self.index}]" if ".axes." in self.parent else self.parent
        return path if isinstance(self.spelling, str) else f"{path}.{name or 'name'}"

    def matches(self, name: str, wanted: Spelling) -> bool:
        """Whether the field equals a text, or the value has all the fields of a mapping."""
        if isinstance(wanted, str):
            return self.text(name) == wanted
        return not name and all(self.text(key) == text for key, text in wanted.items())


@dataclass(frozen=True, slots=True)
class Dimension:
    """One factor of the product: an axis, or several that are zipped."""

    names: tuple[str, ...]
    #: For each position, the values of the axes in the order of `names`.
    rows: Sequence[tuple[Value, ...]]
    #: Setters of each row.
    setters: Sequence[tuple[Setter, ...]] = field(init=False)

    def __post_init__(self) -> None:
        setters = [tuple(value.setter for value in row if value.setter) for row in self.rows]
        object.__setattr__(self, "setters", setters)

    def matching(self, conditions: Mapping[tuple[str, str], Spelling]) -> frozenset[int]:
        """Positions whose values fulfil every condition, given by axis and field, on one of its axes."""
        concerned = [
            (self.names.index(axis), name, wanted)
            for (axis, name), wanted in conditions.items()
            if axis in self.names
        ]
        return frozenset(
            position
            for position, row in enumerate(self.rows)
            if all(row[at].matches(name, wanted) for at, name, wanted in concerned)
        )


def values(path: str, group: Group, axis: str) -> tuple[Value, ...]:
    """The values of an axis; `path` is the group's."""
    written = group.axes[axis]
    found = []
    parent = f"{path}.axes.{axis}"
    for index, (spelling, sets) in enumerate(zip(written.values, written.sets, strict=True)):
        silent = sets is NOTHING or sets == NOTHING
        setter = None if silent else Setter.of(f"{parent}[{index}]", sets)
        found.append(Value(spelling, index, parent, setter, written.expand))
    return tuple(found)


def dimensions(path: str, group: Group) -> list[Dimension]:
    """The factors of the product in the order written; a zip stands where its first axis does."""
    return [
        Dimension(names, list(zip(*(values(path, group, axis) for axis in names), strict=True)))
        for names in zipped_names(group)
    ]


def zipped_names(group: Group) -> Iterator[tuple[str, ...]]:
    """The axes of each factor."""
    zips = {axis: names for names in group.zip for axis in names}
    done: set[str] = set()
    for axis in group.axes:
        if axis not in done:
            names = zips.get(axis, (axis,))
            done.update(names)
            yield names


def axis_and_field(key: str, group: Group) -> tuple[str, str]:
    """`format.name` as axis and field; the whole key is the axis where one has that name."""
    if key in group.axes:
        return key, ""
    axis, _, name = key.partition(".")
    return (axis, name) if axis in group.axes else (key, "")
