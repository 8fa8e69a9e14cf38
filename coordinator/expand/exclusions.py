"""The combinations that `exclude` leaves: counted, numbered and looked up without walking the product."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

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
