"""The shots of a manifest: countable, with random access, built lazily."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

from common.errors import InvalidDocument, Problem
from common.exports import JobExports
from common.shot import PlannedShot
from coordinator.expand.findings import Findings
from coordinator.expand.group import GroupExpansion
from coordinator.expand.shot_settings import ShotSettings


class Expansion(Sequence[PlannedShot]):
    """The shots of all groups in the order of the manifest.

    Shot i is a pure function of manifest, catalog and random seed; its predecessors are not built.
    """

    def __init__(
        self,
        groups: Sequence[GroupExpansion],
        *,
        random_seed: int,
        unidentified: Sequence[str],
        findings: Findings,
    ) -> None:
        self.groups = tuple(groups)
        self.random_seed = random_seed
        #: Models and LoRAs without an identity in the catalog; their shots cannot be submitted.
        self.unidentified = tuple(unidentified)
        self._findings = findings
        self._ends = list(accumulate(len(group) for group in groups))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Warnings for the author, such as rounded sizes and settings without effect."""
        return self._findings.warnings

    def invalid(self, path: str, message: str, offset: int | None = None) -> InvalidDocument:
        """An error found in the shots, at a dotted path of the manifest and a place in the text there."""
        return self._findings.invalid(path, message, offset)

    @property
    def exports(self) -> JobExports:
        """The exports of each group, with the number of its first shot; empty if no group has any."""
        firsts = (0, *self._ends)
        of_groups = [(first, each.naming.exports) for first, each in zip(firsts, self.groups, strict=False)]
        return tuple(of_groups) if any(exports for _, exports in of_groups) else ()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> PlannedShot: ...
    @overload
    def __getitem__(self, index: slice) -> list[PlannedShot]: ...
    def __getitem__(self, index: int | slice) -> PlannedShot | list[PlannedShot]:
        if isinstance(index, int):
            number = range(len(self))[index]
            return next(self.shots(number, number + 1))
        start, stop, step = index.indices(len(self))
        if step == 1:
            return list(self.shots(start, stop))
        return [self[number] for number in range(start, stop, step)]

    def __iter__(self) -> Iterator[PlannedShot]:
        return self.shots(0, len(self))

    def shots(self, start: int, stop: int) -> Iterator[PlannedShot]:
        """Shots from `start` to `stop` (exclusive), built lazily."""
        first = 0
        for group, end in zip(self.groups, self._ends, strict=True):
            yield from group.shots(max(start, first) - first, min(stop, end) - first)
            first = end

    def describe(self, index: int) -> str:
        """The origin of a shot in the manifest: its group and axis values."""
        at = bisect(self._ends, index)
        return self.groups[at].describe(index - (self._ends[at - 1] if at else 0))

    def settings_of(self, index: int) -> ShotSettings:
        """The settings of a shot, with their paths in the manifest."""
        at = bisect(self._ends, index)
        return self.groups[at].settings_of(index - (self._ends[at - 1] if at else 0))

    def place_of(self, index: int, piece: str) -> tuple[str, int | None]:
        """Path and offset of the text in the manifest that puts `piece` into the prompt of a shot.

        The whole prompt where it is put together of several texts.
        """
        at = bisect(self._ends, index)
        return self.groups[at].place_of(index - (self._ends[at - 1] if at else 0), piece)

    def group_of(self, index: int) -> GroupExpansion:
        """The group of a shot."""
        return self.groups[bisect(self._ends, index)]
