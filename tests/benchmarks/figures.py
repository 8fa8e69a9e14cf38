"""What a benchmark says: a number, and what was wanted of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    name: str
    value: float
    #: Of the value: `s`, `MB`, `shots/s`; empty for a ratio.
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_ratio(self) -> bool:
        """Ratios compare two measurements of one machine; only they can be wrong on any machine."""
        return not self.unit

    @property
    def margin(self) -> float | None:
        """How many times as good as wanted it is, 1 being just enough; None where nothing is wanted."""
        if self.at_least is not None:
            return self.value / self.at_least
        if self.at_most is not None:
            return self.at_most / self.value
        return None

    @property
    def met(self) -> bool | None:
        return None if self.margin is None else self.margin >= 1


def decide(figures: list[Figure]) -> int:
    """The exit code: 1 where a ratio is not what was wanted. Absolute figures belong to a machine."""
    return int(any(figure.met is False for figure in figures if figure.is_ratio))
