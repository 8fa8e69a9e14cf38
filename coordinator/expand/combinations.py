"""The combinations of a group's axes: zip, product, exclude, include, without building them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, product
from math import inf, prod
from typing import NamedTuple

from common.manifest.model import NOTHING, Group, Spelling
from coordinator.expand.axes import Dimension, Setter, Value, axis_and_field, dimensions
from coordinator.expand.findings import Findings


class Combination(NamedTuple):
    """One value of every axis, with what `include` adds."""

    values: Mapping[str, Value]
    #: What sets shot fields, the later over the earlier.
    setters: tuple[Setter, ...]


@dataclass(frozen=True, slots=True)
class Addition:
    """An `include` entry that adds to every combination it matches."""

    #: For each dimension, the positions it matches.
    matching: Sequence[frozenset[int]]
    values: Mapping[str, Value]
    setters: tuple[Setter, ...]


@dataclass(frozen=True, eq=False)
class Combinations:
    """Random access by number: those of the product first, the last axis changing fastest, then `fresh`."""

    dimensions: Sequence[Dimension]
    #: Combinations before `exclude` and `include`.
    total: int
    #: Numbers, within the full product, of the combinations that no `exclude` entry matches.
    kept: Sequence[int]
    additions: Sequence[Addition] = ()
    #: Combinations that `include` makes.
    fresh: Sequence[Combination] = ()
    _strides: tuple[int, ...] = field(init=False)
    _names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        sizes = [len(dimension.rows) for dimension in self.dimensions]
        object.__setattr__(self, "_strides", strides(sizes))
        names = tuple(chain.from_iterable(dimension.names for dimension in self.dimensions))
        object.__setattr__(self, "_names", names)

    def __len__(self) -> int:
        return len(self.kept) + len(self.fresh)

    def __iter__(self) -> Iterator[Combination]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Combination:
        if number < len(self.kept):
            return self._at(self.kept[number])
        return self.fresh[number - len(self.kept)]

    def _at(self, number: int) -> Combination:
        """A combination by its number in the full product."""
        positions = []
        for stride in self._strides:
            position, number = divmod(number, stride)
            positions.append(position)
        rows = [dimension.rows[at] for dimension, at in zip(self.dimensions, positions, strict=True)]
        values = dict(zip(self._names, chain.from_iterable(rows), strict=True))
        setters: tuple[Setter, ...] = ()
        for dimension, at in zip(self.dimensions, positions, strict=True):
            setters += dimension.setters[at]
        for addition in self.additions:
            if all(at in those for at, those in zip(positions, addition.matching, strict=True)):
                values.update(addition.values)
                setters += addition.setters
        return Combination(values, setters)

    def values_of(self, name: str) -> Iterator[Value]:
        """Every value that an axis, or a name that `include` adds, takes anywhere."""
        for dimension in self.dimensions:
            if name in dimension.names:
                column = dimension.names.index(name)
                yield from (row[column] for row in dimension.rows)
        included = [each.values for each in self.additions] + [each.values for each in self.fresh]
        yield from (values[name] for values in included if name in values)

    def representatives(self) -> Iterator[Combination]:
        """Combinations that between them show every tuple of setters and every set of names there is."""
        firsts = [_first_of_each(dimension) for dimension in self.dimensions]
        if len(self.kept) == self.total and not self.additions and not self.fresh:
            for positions in product(*firsts):
                yield self._at(sum(at * stride for at, stride in zip(positions, self._strides, strict=True)))
            return
        enough = inf if self.additions or self.fresh else prod(map(len, firsts))
        seen: set[tuple[object, ...]] = set()
        for combination in self:
            shape = (combination.setters, *combination.values)
            if shape not in seen:
                seen.add(shape)
                yield combination
            if len(seen) == enough:
                return


def _first_of_each(dimension: Dimension) -> list[int]:
    """The first position of each tuple of setters."""
    first: dict[tuple[Setter, ...], int] = {}
    for position, setters in enumerate(dimension.setters):
        first.setdefault(setters, position)
    return list(first.values())


def strides(sizes: Sequence[int]) -> tuple[int, ...]:
    """How far apart in the product neighbours of each dimension are."""
    return tuple(accumulate(reversed(sizes[1:]), lambda a, b: a * b, initial=1))[::-1] if sizes else ()


Conditions = Mapping[tuple[str, str], Spelling]


def combinations(path: str, group: Group, findings: Findings) -> Combinations:
    """The combinations of a group; `path` is the group's.

    Takes memory in proportion to the product only where there is an `exclude`: 9 bytes a combination.
    """
    factors = dimensions(path, group)
    # Without axes `include` makes every combination, as it does in CI matrices.
    total = prod(len(dimension.rows) for dimension in factors) if group.axes or not group.include else 0
    kept = _kept(path, group, factors, total, findings)
    additions: list[Addition] = []
    fresh: list[Combination] = []
    for number, entry in enumerate(group.include):
        conditions = {axis_and_field(key, group): wanted for key, wanted in entry.items()}
        conditions = {key: wanted for key, wanted in conditions.items() if key[0] in group.axes}
        matching = [dimension.matching(conditions) for dimension in factors]
        extras, setters = _extras(path, group, number)
        if any(_contains(kept, cell) for cell in _cells(factors, matching)):
            additions.append(Addition(matching, extras, setters))
        else:
            place = f"{path}.include[{number}]"
            values, own = _made(place, factors, conditions, findings)
            fresh.append(Combination({**values, **extras}, own + setters))
    return Combinations(factors, total, kept, additions, fresh)


def _extras(path: str, group: Group, number: int) -> tuple[dict[str, Value], tuple[Setter, ...]]:
    """What an `include` entry gives beside axes: further names, and shot fields."""
    place = f"{path}.include[{number}]"
    names = {
        key: Value(spelling, number, f"{place}.{key}")
        for key, spelling in group.include[number].items()
        if axis_and_field(key, group)[0] not in group.axes
    }
    sets = group.include_sets[number]
    return names, () if sets == NOTHING else (Setter.of(place, sets),)


def _made(
    place: str, factors: Sequence[Dimension], conditions: Conditions, findings: Findings
) -> tuple[dict[str, Value], tuple[Setter, ...]]:
    """The axis values of a new combination: those of the axes where they match, else new ones."""
    values: dict[str, Value] = {}
    setters: tuple[Setter, ...] = ()
    for dimension in factors:
        for column, axis in enumerate(dimension.names):
            wanted = {name: text for (other, name), text in conditions.items() if other == axis}
            if not wanted:
                continue
            known = [row[column] for row in dimension.rows]
            found = next((v for v in known if all(v.matches(*item) for item in wanted.items())), None)
            if found is None and "" in wanted:
                found = Value(wanted[""], len(known), f"{place}.{axis}", expand=known[0].expand)
            if found is None:
                message = f"matches no combination, and no value of `{axis}` fits to make a new one"
                findings.wrong(f"{place}.{axis}.{next(iter(wanted))}", message)
                continue
            values[axis] = found
            setters += (found.setter,) if found.setter else ()
    return values, setters


def _contains(kept: Sequence[int], number: int) -> bool:
    """Whether a sorted sequence holds a number."""
    at = bisect_left(kept, number)
    return at < len(kept) and kept[at] == number


def _kept(
    path: str, group: Group, factors: Sequence[Dimension], total: int, findings: Findings
) -> Sequence[int]:
    """Numbers of the combinations that no entry excludes, in order."""
    if not group.exclude:
        return range(total)
    excluded = bytearray(total)
    for number, entry in enumerate(group.exclude):
        conditions = {axis_and_field(key, group): wanted for key, wanted in entry.items()}
        cells = _cells(factors, [dimension.matching(conditions) for dimension in factors])
        before = excluded.count(1)
        for cell in cells:
            excluded[cell] = 1
        if excluded.count(1) == before:
            findings.warn(f"{path}.exclude[{number}]", "excludes nothing")
    return array("q", (number for number in range(total) if not excluded[number]))


def _cells(factors: Sequence[Dimension], matching: Sequence[Iterable[int]]) -> Iterator[int]:
    """Numbers of the combinations whose positions match in every dimension, in order."""
    steps = strides([len(dimension.rows) for dimension in factors])
    offsets = [
        [position * stride for position in sorted(positions)]
        for positions, stride in zip(matching, steps, strict=True)
    ]
    return map(sum, product(*offsets))
