"""The combinations of a group's axes: zip, product, exclude, include, without building them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import NamedTuple

from common.manifest.model import Group, ShotFields
from coordinator.expand.dimensions import Conditions, Dimension, Setter, Value, axis_and_field, dimensions
from coordinator.expand.exclusions import Box, Kept, strides
from coordinator.expand.findings import Findings


class Combination(NamedTuple):
    """One value of every axis, with what `include` adds."""

    values: Mapping[str, Value]
    #: What sets shot fields, the later over the earlier.
    setters: tuple[Setter, ...]

    def values_of(self, name: str) -> list[Value]:
        """The value of one name, as `Combinations.values_of` gives all."""
        return [self.values[name]]


@dataclass(frozen=True, slots=True)
class Addition:
    """An `include` entry that adds to every combination it matches."""

    matching: Box
    values: Mapping[str, Value]
    setters: tuple[Setter, ...]

    def matches(self, positions: Sequence[int]) -> bool:
        return all(those is None or at in those for at, those in zip(positions, self.matching, strict=True))


@dataclass(frozen=True, eq=False)
class Combinations:
    """Random access by number: those of the product first, the last axis changing fastest, then `fresh`."""

    dimensions: Sequence[Dimension]
    kept: Kept
    additions: Sequence[Addition] = ()
    #: Combinations that `include` makes.
    fresh: Sequence[Combination] = ()
    _strides: tuple[int, ...] = field(init=False)
    _names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_strides", strides([len(dimension) for dimension in self.dimensions]))
        names = tuple(chain.from_iterable(dimension.names for dimension in self.dimensions))
        object.__setattr__(self, "_names", names)

    def __len__(self) -> int:
        return len(self.kept) + len(self.fresh)

    def __iter__(self) -> Iterator[Combination]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Combination:
        if number >= len(self.kept):
            return self.fresh[number - len(self.kept)]
        left = self.kept[number]
        positions = []
        for stride in self._strides:
            position, left = divmod(left, stride)
            positions.append(position)
        return self._at(positions)

    def _at(self, positions: Sequence[int]) -> Combination:
        values: dict[str, Value] = {}
        setters: tuple[Setter, ...] = ()
        for dimension, at in zip(self.dimensions, positions, strict=True):
            values.update(zip(dimension.names, dimension.row(at), strict=True))
            setters += dimension.setters(at)
        for addition in self.additions:
            if addition.matches(positions):
                values.update(addition.values)
                setters += addition.setters
        return Combination(values, setters)

    def values_of(self, name: str) -> Iterator[Value]:
        """Every value that an axis, or a name that `include` adds, takes anywhere."""
        for dimension in self.dimensions:
            if name in dimension.names:
                yield from dimension.values(name)
        included = [each.values for each in self.additions] + [each.values for each in self.fresh]
        yield from (values[name] for values in included if name in values)

    def representatives(self) -> Iterator[Combination]:
        """Combinations that between them show every tuple of setters and every set of names there is."""
        seen: set[tuple[object, ...]] = set()
        firsts = [self._first_of_each(number) for number in range(len(self.dimensions))]
        kept = (self._at(positions) for positions in product(*firsts) if self.kept.holds(positions))
        for combination in chain(kept, self.fresh):
            shape = (combination.setters, *combination.values)
            if shape not in seen:
                seen.add(shape)
                yield combination

    def _first_of_each(self, number: int) -> list[int]:
        """The first of the positions of a dimension that set, exclude and include the same."""
        dimension = self.dimensions[number]
        matching = [those for each in self.additions if (those := each.matching[number]) is not None]
        first: dict[object, int] = {}
        for at in range(len(dimension)):
            added = tuple(at in those for those in matching)
            first.setdefault((dimension.setters(at), self.kept.mask(number, at), added), at)
        return list(first.values())


def combinations(
    path: str, group: Group, presets: Mapping[str, ShotFields], findings: Findings
) -> Combinations:
    """The combinations of a group; `path` is the group's."""
    factors = dimensions(path, group, presets)
    kept = _kept(path, group, factors, findings)
    additions: list[Addition] = []
    fresh: list[Combination] = []
    for number, entry in enumerate(group.include):
        conditions = {axis_and_field(key, group): wanted for key, wanted in entry.items()}
        conditions = {key: wanted for key, wanted in conditions.items() if key[0] in group.axes}
        matching = [dimension.matching(conditions) for dimension in factors]
        extras, setters = _extras(path, group, presets, number)
        if kept.meets(matching):
            additions.append(Addition(matching, extras, setters))
        else:
            place = f"{path}.include[{number}]"
            values, own = _made(place, factors, conditions, findings)
            fresh.append(Combination({**values, **extras}, own + setters))
    return Combinations(factors, kept, additions, fresh)


def _kept(path: str, group: Group, factors: Sequence[Dimension], findings: Findings) -> Kept:
    """The combinations that no entry of `exclude` matches, after warning of entries that match none."""
    boxes = []
    for number, entry in enumerate(group.exclude):
        conditions = {axis_and_field(key, group): wanted for key, wanted in entry.items()}
        boxes.append([dimension.matching(conditions) for dimension in factors])
        if any(positions is not None and not positions for positions in boxes[-1]):
            why = next(filter(None, (dimension.unmatched(conditions) for dimension in factors)), "")
            findings.warn(f"{path}.exclude[{number}]", f"excludes nothing{why and '; '}{why}")
    return Kept([len(dimension) for dimension in factors], boxes)


def _extras(
    path: str, group: Group, presets: Mapping[str, ShotFields], number: int
) -> tuple[dict[str, Value], tuple[Setter, ...]]:
    """What an `include` entry gives beside axes: further names, and shot fields."""
    place = f"{path}.include[{number}]"
    names = {
        key: Value(spelling, number, f"{place}.{key}")
        for key, spelling in group.include[number].items()
        if axis_and_field(key, group)[0] not in group.axes
    }
    sets = group.include_sets[number]
    said, around = Setter.all_of(place, sets, presets)
    return names, said + around


def _made(
    place: str, factors: Sequence[Dimension], conditions: Conditions, findings: Findings
) -> tuple[dict[str, Value], tuple[Setter, ...]]:
    """The axis values of a new combination: those of the axes where they match, else new ones."""
    values: dict[str, Value] = {}
    setters: tuple[Setter, ...] = ()
    for dimension in factors:
        for axis in dimension.names:
            wanted = {key: text for key, text in conditions.items() if key[0] == axis}
            if not wanted:
                continue
            known = list(dimension.values(axis))
            found = dimension.matching(wanted)
            if found:
                values[axis] = known[min(found)]
                setters += dimension.setters(min(found))
            elif (axis, "") in wanted:
                new = wanted[axis, ""]
                values[axis] = Value(new, len(known), f"{place}.{axis}", expand=known[0].expand)
            else:
                message = f"matches no combination, and no value of `{axis}` fits to make a new one"
                findings.wrong(f"{place}.{axis}.{next(iter(wanted))[1]}", message)
    return values, setters
