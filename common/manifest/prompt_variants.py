"""Evaluates templates without references: the number of possible texts, the n-th text, a random text."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from typing import Protocol

from common.manifest.prompt import Alternative, Alternatives, Reference, Template, Wildcard

#: Counts and lengths are capped here: larger values are never needed and could exhaust the memory.
ENDLESS = 10**30


class DrawSource(Protocol):
    def uniform(self, place: str) -> float:
        """Returns a number in [0, 1) that depends only on `place`."""


class WildcardLines:
    """The lines of one or more wildcards, each a template with its weight."""

    def __init__(
        self,
        name: str,
        lines: tuple[Alternative, ...],
        wildcards: Mapping[str, WildcardLines],
        members: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        #: The wildcards that supply the lines, if there are several.
        self.members = members
        self._own = lines
        self._wildcards = wildcards
        #: Whether a line can become empty; None until computed.
        self.blank: bool | None = None
        #: By the maximum number of chosen lines: the cached result of `_ways`.
        self.ways: dict[int, list[list[int]]] = {}

    @cached_property
    def options(self) -> tuple[Alternative, ...]:
        lines = chain.from_iterable(self._wildcards[member].options for member in self.members)
        return (*self._own, *lines)

    @cached_property
    def weights(self) -> list[float]:
        """Cumulative weights of the lines."""
        return list(accumulate(line.weight for line in self.options))

    @cached_property
    def different(self) -> Alternatives:
        """The distinct lines as alternatives, from which several can be chosen without repetition."""
        weights: dict[Template, float] = {}
        for line in self.options:
            weights[line.body] = weights.get(line.body, 0.0) + line.weight
        return Alternatives(tuple(Alternative(body, weight) for body, weight in weights.items()), 0)

    @cached_property
    def ends(self) -> list[int]:
        """Cumulative numbers of possible texts of the lines."""
        counts = (count(line.body, self._wildcards) for line in self.options)
        return list(accumulate(counts, lambda total, more: min(total + more, ENDLESS)))

    @cached_property
    def longest(self) -> int:
        """Maximum length of a text in characters."""
        return max((longest(line.body, self._wildcards) for line in self.options), default=0)


def count(template: Template, wildcards: Mapping[str, WildcardLines]) -> int:
    """Returns the number of possible texts, including duplicates; at most `ENDLESS`."""
    product = 1
    for node in template:
        match node:
            case Alternatives():
                product *= sum(_ways(node, wildcards)[0][node.low : node.high + 1])
            case Wildcard():
                product *= wildcards[node.name].ends[-1]
            case Reference():
                raise TypeError(f"{node} is not bound")
            case str():
                pass
        product = min(product, ENDLESS)
    return product


def longest(template: Template, wildcards: Mapping[str, WildcardLines]) -> int:
    """Returns an upper bound of the length of any text; at most `ENDLESS`. References count as empty."""
    total = 0
    for node in template:
        match node:
            case str():
                total += len(node)
            case Wildcard():
                total += wildcards[node.name].longest
            case Alternatives():
                options = _alternatives(node, wildcards).options
                lengths = sorted(longest(option.body, wildcards) for option in options)
                total += sum(lengths[-node.high :]) + len(node.separator) * (node.high - 1)
            case Reference():
                pass
    return min(total, ENDLESS)


def nth(template: Template, index: int, wildcards: Mapping[str, WildcardLines]) -> str:
    """Returns text `index` of `count(template)`. The last variant of the template changes fastest."""
    parts = []
    for node in reversed(template):
        match node:
            case str():
                parts.append(node)
            case Wildcard():
                lines = wildcards[node.name]
                index, inside = divmod(index, lines.ends[-1])
                line = bisect(lines.ends, inside)
                before = lines.ends[line - 1] if line else 0
                parts.append(nth(lines.options[line].body, inside - before, wildcards))
            case Alternatives():
                ways = _ways(node, wildcards)
                index, inside = divmod(index, sum(ways[0][node.low : node.high + 1]))
                parts.append(_nth_choice(node, inside, ways, wildcards))
            case Reference():
                raise TypeError(f"{node} is not bound")
    return "".join(reversed(parts))


def draw(
    template: Template, draws: DrawSource, wildcards: Mapping[str, WildcardLines], place: str = ""
) -> str:
    """Returns one text; each variant and wildcard is chosen by its own place in the template."""
    parts = []
    for node in template:
        match node:
            case str():
                parts.append(node)
            case Wildcard():
                lines = wildcards[node.name]
                line = _share(lines.weights, draws.uniform(f"{place}{node.offset}"))
                parts.append(
                    draw(lines.options[line].body, draws, wildcards, f"{place}{node.offset}:{line}/")
                )
            case Alternatives():
                at = f"{place}{node.offset}"
                alternatives = _alternatives(node, wildcards)
                texts = []
                for number in _drawn(node, alternatives.ends, draws, at):
                    # Two lines of a wildcard may contain a variant at the same offset.
                    inner = place if alternatives is node else f"{at}:{number}/"
                    texts.append(draw(alternatives.options[number].body, draws, wildcards, inner))
                parts.append(node.separator.join(filter(None, texts)))
            case Reference():
                raise TypeError(f"{node} is not bound")
    return "".join(parts)


def _alternatives(choice: Alternatives, wildcards: Mapping[str, WildcardLines]) -> Alternatives:
    """Returns the alternatives of a choice: its options, or the lines of its only wildcard."""
    return wildcards[choice.lines_of.name].different if choice.lines_of else choice


def _drawn(choice: Alternatives, ends: Sequence[float], draws: DrawSource, place: str) -> list[int]:
    """Returns the indices of the chosen alternatives, by weight and without repetition, in the order written.

    `ends` contains the cumulative weights of the alternatives.
    """
    if choice.low == choice.high == 1:
        return [_share(ends, draws.uniform(place))]
    span = choice.high - choice.low + 1
    number = choice.low + int(draws.uniform(f"{place}$") * span)
    picked: list[int] = []
    left = ends[-1]
    for turn in range(min(number, len(ends))):
        at = draws.uniform(f"{place}#{turn}") * left
        # Alternatives that have been chosen already are left out of the total weight.
        for taken in picked:
            start = ends[taken - 1] if taken else 0.0
            at += ends[taken] - start if at >= start else 0.0
        one = min(bisect(ends, at), len(ends) - 1)
        while one in picked:
            # Rounding selected an alternative that has been chosen already.
            one = (one + 1) % len(ends)
        insort(picked, one)
        left -= ends[one] - (ends[one - 1] if one else 0.0)
    return picked


def _share(ends: Sequence[float], uniform: float) -> int:
    """Returns the index of the weight range that contains a number in [0, 1)."""
    return min(bisect(ends, uniform * ends[-1]), len(ends) - 1)


def _ways(choice: Alternatives, wildcards: Mapping[str, WildcardLines]) -> list[list[int]]:
    """Returns `ways[i][k]`: the number of texts made of k alternatives from the i-th onwards."""
    if choice.lines_of is None:
        return _table(choice.options, choice.high, wildcards)
    lines = wildcards[choice.lines_of.name]
    if choice.high not in lines.ways:
        lines.ways[choice.high] = _table(lines.different.options, choice.high, wildcards)
    return lines.ways[choice.high]


def _table(
    options: Sequence[Alternative], high: int, wildcards: Mapping[str, WildcardLines]
) -> list[list[int]]:
    table = [[1] + [0] * high]
    for option in reversed(options):
        alone = count(option.body, wildcards)
        after = table[-1]
        with_it = (min(alone * ways, ENDLESS) for ways in after)
        table.append([1, *(min(a + b, ENDLESS) for a, b in zip(after[1:], with_it, strict=False))])
    return table[::-1]


def _nth_choice(
    choice: Alternatives, index: int, ways: list[list[int]], wildcards: Mapping[str, WildcardLines]
) -> str:
    """Returns text `index` of a choice: ordered by the number of options, then by the first option."""
    left = choice.low
    while index >= ways[0][left]:
        index -= ways[0][left]
        left += 1
    texts = []
    for position, option in enumerate(_alternatives(choice, wildcards).options):
        if not left:
            break
        rest = ways[position + 1][left - 1]
        here = count(option.body, wildcards) * rest
        if index >= here:
            index -= here
            continue
        inside, index = divmod(index, rest)
        texts.append(nth(option.body, inside, wildcards))
        left -= 1
    return choice.separator.join(filter(None, texts))
