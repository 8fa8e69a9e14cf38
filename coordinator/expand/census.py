"""What only a look at every shot can tell: how many differ, and whether their names collide."""

from __future__ import annotations

import unicodedata
from array import array
from itertools import pairwise

from common.shot import PlannedShot
from common.wording import quoted, shortened
from coordinator.expand.expansion import Expansion

#: Longer patterns are not repeated.
_LONGEST = 120
_ALIKE = "upper and lower case, and the ways to encode accents, count as equal"


class Census:
    """Counts shots as they pass by; takes 24 bytes for each, and some 60 while it answers."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._names = array("q")
        self._named = array("q")

    def add(self, planned: PlannedShot) -> None:
        folded = fold(planned.name)
        self._ids.append(hash(planned.id))
        self._names.append(hash(folded))
        self._named.append(hash((folded, planned.id)))

    @property
    def shots(self) -> int:
        return len(self._ids)

    @property
    def distinct(self) -> int:
        """Shots without duplicates. Of a billion shots two are mistaken for one in 3 % of all cases."""
        return _distinct(self._ids)

    @property
    def collides(self) -> bool:
        """Whether different shots have equal names."""
        return _distinct(self._names) < _distinct(self._named)


def take_census(expansion: Expansion) -> Census:
    census = Census()
    for planned in expansion:
        census.add(planned)
    return census


def check_names(expansion: Expansion, census: Census | None = None) -> None:
    """Raises `InvalidDocument` with the first two shots whose names are equal but for upper and lower case.

    A census of the whole expansion, where one was taken already, saves looking at every shot again.
    """
    if not (census or take_census(expansion)).collides:
        return
    first: dict[str, tuple[int, str]] = {}
    for number, planned in enumerate(expansion):
        other, other_id = first.setdefault(fold(planned.name), (number, planned.id))
        if other_id != planned.id:
            both = [
                f"{expansion.describe(each)} with seed {expansion[each].shot.seed}"
                for each in (other, number)
            ]
            alike = f" ({_ALIKE})" if both[0] != both[1] and fold(both[0]) == fold(both[1]) else ""
            names = expansion.group_of(number).naming
            longer = quoted(f"{names.pattern}-{{index}}")
            remedy = f"add what differs, or write `{longer}`" if len(longer) <= _LONGEST else "add {index}"
            message = f"`{shortened(planned.name)}` would be the name of two images{alike}: "
            raise expansion.invalid(names.path, f"{message}{' and '.join(both)}; {remedy}")


def fold(name: str) -> str:
    """Equal for names that one file system or another takes for the same."""
    if name.isascii():
        return name.lower()
    # Folding knows letters without their accents; upper case makes one of `ı` and `i`.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).upper().casefold())


def _distinct(hashes: array[int]) -> int:
    if not hashes:
        return 0
    ordered = sorted(hashes)
    return 1 + sum(a != b for a, b in pairwise(ordered))
