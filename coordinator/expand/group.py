"""The shots of one group: combinations × variants × seeds, each by its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from common.shot import PlannedShot
from coordinator.expand.cell import Cell, Frame
from coordinator.expand.combinations import Combinations
from coordinator.expand.dimensions import Setter
from coordinator.expand.names import NamePattern
from coordinator.expand.numbering import Numbering
from coordinator.expand.prompts import Prompts, described
from coordinator.expand.rendering import Rendering


class GroupExpansion:
    """One group of a manifest, nothing of it built."""

    def __init__(
        self,
        frame: Frame,
        combinations: Combinations,
        numbering: Numbering,
        rendering: Callable[[tuple[Setter, ...]], Rendering],
        prompts: Prompts,
        names: NamePattern,
    ) -> None:
        self._frame = frame
        self._combinations = combinations
        self._numbering = numbering
        self._rendering = rendering
        self._prompts = prompts
        self._names = names

    @property
    def name(self) -> str:
        return self._frame.group

    @property
    def combinations(self) -> int:
        return self._numbering.combinations

    @property
    def variants(self) -> int:
        """Variants of each combination; the largest number where they differ."""
        return self._numbering.variants

    @property
    def seeds(self) -> int:
        """Seeds of each variant."""
        return self._numbering.seeds

    def __len__(self) -> int:
        return self._numbering.shots

    def shots(self, start: int, stop: int) -> Iterator[PlannedShot]:
        """Shots `start` to `stop`, the last not included."""
        number = start
        while number < stop:
            combination = self._numbering.combination(number)
            first = self._numbering.first(combination)
            end = min(stop, self._numbering.first(combination + 1))
            cell = self._cell(combination)
            for each in range(number, end):
                variant, position = divmod(each - first, self.seeds)
                yield cell.planned(variant, position, each)
            number = end

    def describe(self, number: int) -> str:
        """Where in the manifest a shot comes from."""
        combination = self._combinations[self._numbering.combination(number)]
        return f"group `{self.name}` where {described(combination)}"

    def _cell(self, combination: int) -> Cell:
        values, setters = self._combinations[combination]
        rendering = self._rendering(setters)
        settings = rendering.settings
        return Cell(
            self._frame,
            rendering,
            self._prompts.bound(settings.prompt.value, values),
            self._prompts.bound(settings.negative.value, values),
            self._names.parts(self.name, values),
        )
