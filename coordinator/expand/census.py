"""Properties that require every shot: the number of distinct shots, and name collisions."""

from __future__ import annotations

import unicodedata
from array import array
from itertools import pairwise

from common.errors import InvalidDocument
from common.shot import PlannedShot
from common.wording import quoted, shortened
from coordinator.expand.expansion import Expansion

#: Longer patterns are not repeated in messages.
_LONGEST = 120
_ALIKE = "names that differ only in case or in the encoding of accents count as equal"


class Census:
    """Counts shots incrementally; takes 8 bytes per shot and 16 per file, and up to 40 more for a result."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._names = array("q")
        self._named = array("q")

    def add(self, planned: PlannedShot) -> None:
        self._ids.append(hash(planned.id))
        for file in planned.files:
            folded = fold(file)
            self._names.append(hash(folded))
            self._named.append(hash((folded, planned.id)))

    @property
    def shots(self) -> int:
        return len(self._ids)

    @property
    def distinct(self) -> int:
        """Number of distinct shots. With a billion shots, the probability of a hash collision is 3 %."""
        return _distinct(self._ids)

    @property
    def collides(self) -> bool:
        """Whether different shots have the same name."""
        return _distinct(self._names) < _distinct(self._named)


def take_census(expansion: Expansion) -> Census:
    census = Census()
    for planned in expansion:
        census.add(planned)
    return census


def check_names(expansion: Expansion, census: Census | None = None) -> None:
    """Raises `InvalidDocument` with the first two shots whose names are equal after case folding.

    Pass a census of the whole expansion, if available, to avoid building every shot again.
    """
    if not (census or take_census(expansion)).collides:
        return
    first: dict[str, tuple[int, str]] = {}
    for number, planned in enumerate(expansion):
        for file in planned.files:
            other, other_id = first.setdefault(fold(file), (number, planned.id))
            if other_id != planned.id:
                raise _clash(expansion, file, other, number)


def _clash(expansion: Expansion, name: str, *numbers: int) -> InvalidDocument:
    """Two shots, by number, with a file of the same name."""
    both = [f"{expansion.describe(each)} with seed {expansion[each].shot.seed}" for each in numbers]
    alike = f" ({_ALIKE})" if both[0] != both[1] and fold(both[0]) == fold(both[1]) else ""
    names = expansion.group_of(numbers[-1]).naming
    longer = quoted(f"{names.pattern}-{{index}}")
    remedy = (
        f"add a reference that differs, or write `{longer}`" if len(longer) <= _LONGEST else "add {index}"
    )
    message = f"two images would have the name `{shortened(name)}`{alike}: "
    return expansion.invalid(names.path, f"{message}{' and '.join(both)}; {remedy}")


def fold(name: str) -> str:
    """A key that is equal for names that some file system treats as the same."""
    if name.isascii():
        return name.lower()
    # Fold without accents; upper case first, so that `ı` and `i` are equal.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).upper().casefold())


def _distinct(hashes: array[int]) -> int:
    if not hashes:
        return 0
    ordered = sorted(hashes)
    return 1 + sum(a != b for a, b in pairwise(ordered))
