"""The combinations of the axes of a group (zip, product, exclude, include), built lazily."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, product
from math import prod
from typing import NamedTuple

from common.manifest.model import Group, ShotFields
from coordinator.expand.dimensions import Conditions, Dimension, Setter, Value, axis_and_field, dimensions
from coordinator.expand.findings import Findings

#: For each dimension, the positions that something matches; None for all of them.
Box = Sequence[frozenset[int] | None]


@dataclass(frozen=True, slots=True)
class _Step:
    """How the combinations that are kept spread over the positions of one dimension."""

    #: Positions that some entry names, in order, and the kept combinations at each.
    special: Sequence[int]
    counts: Sequence[int]
    #: Kept combinations at every other position.
    other: int
    #: Kept combinations before each special position.
    before: Sequence[int]
    total: int

    def find(self, number: int) -> tuple[int, int]:
        """The position of a kept combination, and its number among those there."""
        at = bisect_right(self.before, number) - 1
        if at >= 0:
            number -= self.before[at]
            if number < self.counts[at]:
                return self.special[at], number
            number -= self.counts[at]
        skipped, rest = divmod(number, self.other)
        return (self.special[at] + 1 if at >= 0 else 0) + skipped, rest


class Kept(Sequence[int]):
    """Numbers, within the full product, of the combinations that no entry of `exclude` matches, in order.

    Position by position the entries that may still match are followed as bits of a mask; combinations that
    leave the same mask are counted once. Takes memory for the positions that entries name only.
    """

    def __init__(self, sizes: Sequence[int], excluded: Sequence[Box]) -> None:
        self._sizes = sizes
        self._strides = strides(sizes)
        self._all = (1 << len(excluded)) - 1
        #: For each dimension, the mask of each position that an entry names, and that of all others.
        self._named: list[dict[int, int]] = []
        self._others: list[int] = []
        for dimension in range(len(sizes)):
            named: dict[int, int] = {}
            free = 0
            for entry, box in enumerate(excluded):
                positions = box[dimension]
                if positions is None:
                    free |= 1 << entry
                for position in positions or ():
                    named[position] = named.get(position, 0) | 1 << entry
            self._named.append({at: mask | free for at, mask in sorted(named.items())})
            self._others.append(free)
        self._steps = self._counted()

    def _counted(self) -> list[dict[int, _Step]]:
        """For each dimension and each mask that can arise before it, how the kept combinations spread."""
        arising = [{self._all} - {0}]
        for named, other in zip(self._named, self._others, strict=True):
            masks = {other, *named.values()}
            arising.append({mask & each for mask in arising[-1] for each in masks} - {0})
        steps: list[dict[int, _Step]] = []
        # Behind the last dimension an entry that still matches excludes.
        totals = dict.fromkeys(arising[-1], 0) | {0: 1}
        for dimension in reversed(range(len(self._sizes))):
            here = {mask: self._step(dimension, mask, totals) for mask in arising[dimension]}
            steps.insert(0, here)
            totals = {mask: step.total for mask, step in here.items()}
            totals[0] = prod(self._sizes[dimension:])
        self._length = totals[self._all]
        return steps

    def _step(self, dimension: int, mask: int, totals: dict[int, int]) -> _Step:
        named = self._named[dimension]
        counts = [totals[mask & each] for each in named.values()]
        other = totals[mask & self._others[dimension]]
        passed = list(accumulate(counts, initial=0))
        before = [passed[index] + (position - index) * other for index, position in enumerate(named)]
        total = passed[-1] + (self._sizes[dimension] - len(named)) * other
        return _Step(list(named), counts, other, before, total)

    @property
    def excluded(self) -> int:
        return prod(self._sizes) - self._length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> int:  # type: ignore[override]
        mask, found = self._all, 0
        for dimension, steps in enumerate(self._steps):
            if not mask:
                break
            position, number = steps[mask].find(number)
            found += position * self._strides[dimension]
            mask &= self.mask(dimension, position)
        return found + number

    def holds(self, positions: Iterable[int]) -> bool:
        """Whether the combination at these positions is kept."""
        mask = self._all
        for dimension, position in enumerate(positions):
            mask &= self.mask(dimension, position)
        return not mask

    def meets(self, box: Box) -> bool:
        """Whether any combination inside is kept."""
        masks = {self._all}
        for dimension, positions in enumerate(box):
            named, other = self._named[dimension], self._others[dimension]
            inside = named.keys() if positions is None else named.keys() & positions
            here = {named[position] for position in inside}
            if len(inside) < (self._sizes[dimension] if positions is None else len(positions)):
                here.add(other)
            masks = {mask & each for mask in masks for each in here}
        return 0 in masks

    def mask(self, dimension: int, position: int) -> int:
        """Which entries a position leaves possible, as bits."""
        return self._named[dimension].get(position, self._others[dimension])


def strides(sizes: Sequence[int]) -> tuple[int, ...]:
    """How far apart in the product neighbours of each dimension are."""
    return tuple(accumulate(reversed(sizes[1:]), lambda a, b: a * b, initial=1))[::-1] if sizes else ()


class Combination(NamedTuple):
    """One value of every axis, with the additions of `include`."""

    values: Mapping[str, Value]
    #: Setters of shot fields; later ones override earlier ones.
    setters: tuple[Setter, ...]

    def values_of(self, name: str) -> list[Value]:
        """The value of one name, as a list like that of `Combinations.values_of`."""
        return [self.values[name]]


@dataclass(frozen=True, slots=True)
class Addition:
    """An `include` entry that adds to every matching combination."""

    matching: Box
    values: Mapping[str, Value]
    setters: tuple[Setter, ...]

    def matches(self, positions: Sequence[int]) -> bool:
        return all(those is None or at in those for at, those in zip(positions, self.matching, strict=True))


@dataclass(frozen=True, eq=False)
class Combinations:
    """Random access by number: the product first, with the last axis varying fastest, then `fresh`."""

    dimensions: Sequence[Dimension]
    kept: Kept
    additions: Sequence[Addition] = ()
    #: Combinations added by `include`.
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
        """All values of an axis, or of a name added by `include`."""
        for dimension in self.dimensions:
            if name in dimension.names:
                yield from dimension.values(name)
        included = [each.values for each in self.additions] + [each.values for each in self.fresh]
        yield from (values[name] for values in included if name in values)

    def representatives(self) -> Iterator[Combination]:
        """Combinations that together cover every tuple of setters and every set of names."""
        seen: set[tuple[object, ...]] = set()
        firsts = [self._first_of_each(number) for number in range(len(self.dimensions))]
        kept = (self._at(positions) for positions in product(*firsts) if self.kept.holds(positions))
        for combination in chain(kept, self.fresh):
            shape = (combination.setters, *combination.values)
            if shape not in seen:
                seen.add(shape)
                yield combination

    def _first_of_each(self, number: int) -> list[int]:
        """One position of a dimension for each distinct effect on setters, `exclude` and `include`."""
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
    """The combinations of a group; `path` is the path of the group."""
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
    """The combinations that no `exclude` entry matches; warns of entries without a match."""
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
    """What an `include` entry sets besides axes: further names, and shot fields."""
    place = f"{path}.include[{number}]"
    names = {
        key: Value(spelling, number, f"{place}.{key}")
        for key, spelling in group.include[number].items()
        if axis_and_field(key, group)[0] not in group.axes
    }
    sets = group.include_sets[number]
    settings, around = Setter.all_of(place, sets, presets)
    return names, settings + around


def _made(
    place: str, factors: Sequence[Dimension], conditions: Conditions, findings: Findings
) -> tuple[dict[str, Value], tuple[Setter, ...]]:
    """The axis values of a new combination: existing ones if they match, else new ones."""
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
                message = f"matches no combination, and gives no value of `{axis}` for a new one"
                findings.wrong(f"{place}.{axis}.{next(iter(wanted))[1]}", message)
    return values, setters
