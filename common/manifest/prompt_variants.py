"""What a template without references can become: how many texts, the n-th of them, or one that is drawn."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Protocol

from common.manifest.prompt import Choice, Expanded, Option, Reference, Template, Wildcard

#: Counts and lengths stop growing here: nobody renders more, and exact ones could fill the memory.
ENDLESS = 10**30


class Draws(Protocol):
    def uniform(self, place: str) -> float:
        """A number in [0, 1) that depends on nothing but the place."""


class Lines:
    """The lines of one wildcard, each a template."""

    def __init__(self, name: str, lines: tuple[Template, ...], wildcards: Mapping[str, Lines]) -> None:
        self.name = name
        self.templates = lines
        self._wildcards = wildcards

    @cached_property
    def ends(self) -> list[int]:
        """For each line, the number of texts that it and the lines before it can become."""
        counts = (count(line, self._wildcards) for line in self.templates)
        return list(accumulate(counts, lambda total, more: min(total + more, ENDLESS)))

    @cached_property
    def longest(self) -> int:
        """Characters of the longest text."""
        return max((longest(line, self._wildcards) for line in self.templates), default=0)


def count(template: Template, wildcards: Mapping[str, Lines]) -> int:
    """How many texts a template can become, equal ones counted twice; at most `ENDLESS`."""
    product = 1
    for node in template:
        match node:
            case Choice():
                product *= sum(_ways(node, wildcards)[0][node.low : node.high + 1])
            case Wildcard():
                product *= wildcards[node.name].ends[-1]
            case Expanded():
                product *= count(node.body, wildcards)
            case Reference():
                raise TypeError(f"{node} is not bound")
            case str():
                pass
        product = min(product, ENDLESS)
    return product


def longest(template: Template, wildcards: Mapping[str, Lines]) -> int:
    """Upper bound of the characters of any text; at most `ENDLESS`. References count nothing."""
    total = 0
    for node in template:
        match node:
            case str():
                total += len(node)
            case Wildcard():
                total += wildcards[node.name].longest
            case Expanded():
                total += longest(node.body, wildcards)
            case Choice():
                lengths = sorted(longest(option.body, wildcards) for option in node.options)
                total += sum(lengths[-node.high :]) + len(node.separator) * (node.high - 1)
            case Reference():
                pass
    return min(total, ENDLESS)


def nth(template: Template, index: int, wildcards: Mapping[str, Lines]) -> str:
    """Text `index` of `count(template)`; the last variant of the template changes fastest."""
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
                parts.append(nth(lines.templates[line], inside - before, wildcards))
            case Expanded():
                index, inside = divmod(index, count(node.body, wildcards))
                parts.append(nth(node.body, inside, wildcards))
            case Choice():
                ways = _ways(node, wildcards)
                index, inside = divmod(index, sum(ways[0][node.low : node.high + 1]))
                parts.append(_nth_choice(node, inside, ways, wildcards))
            case Reference():
                raise TypeError(f"{node} is not bound")
    return "".join(reversed(parts))


def draw(template: Template, draws: Draws, wildcards: Mapping[str, Lines], place: str = "") -> str:
    """One text, each variant and wildcard drawn for its own place in the template."""
    parts = []
    for node in template:
        match node:
            case str():
                parts.append(node)
            case Wildcard():
                lines = wildcards[node.name].templates
                line = int(draws.uniform(f"{place}{node.offset}") * len(lines))
                parts.append(draw(lines[line], draws, wildcards, f"{place}{node.offset}:{line}/"))
            case Expanded():
                parts.append(draw(node.body, draws, wildcards, f"{place}{node.offset}/"))
            case Choice():
                picked = _drawn(node, draws, f"{place}{node.offset}")
                texts = (draw(option.body, draws, wildcards, place) for option in picked)
                parts.append(node.separator.join(filter(None, texts)))
            case Reference():
                raise TypeError(f"{node} is not bound")
    return "".join(parts)


def _drawn(choice: Choice, draws: Draws, place: str) -> list[Option]:
    """The options drawn, by weight and without repetition, in the order written."""
    if choice.low == choice.high == 1:
        return [choice.options[_share(choice.ends, draws.uniform(place))]]
    span = choice.high - choice.low + 1
    number = choice.low + int(draws.uniform(f"{place}$") * span)
    left = list(enumerate(choice.options))
    picked = []
    for turn in range(number):
        ends = list(accumulate(option.weight for _, option in left))
        picked.append(left.pop(_share(ends, draws.uniform(f"{place}#{turn}"))))
    return [option for _, option in sorted(picked, key=lambda pair: pair[0])]


def _share(ends: Sequence[float], uniform: float) -> int:
    """The index whose share of the weights a number in [0, 1) falls into."""
    return min(bisect(ends, uniform * ends[-1]), len(ends) - 1)


def _ways(choice: Choice, wildcards: Mapping[str, Lines]) -> list[list[int]]:
    """`ways[i][k]`: the number of texts of choosing k of the options from the i-th on."""
    table = [[1] + [0] * choice.high]
    for option in reversed(choice.options):
        alone = count(option.body, wildcards)
        after = table[0]
        with_it = (min(alone * ways, ENDLESS) for ways in after)
        table.insert(0, [1, *(min(a + b, ENDLESS) for a, b in zip(after[1:], with_it, strict=False))])
    return table


def _nth_choice(choice: Choice, index: int, ways: list[list[int]], wildcards: Mapping[str, Lines]) -> str:
    """Text `index` of a choice: fewer options first, then by the first option taken."""
    left = choice.low
    while index >= ways[0][left]:
        index -= ways[0][left]
        left += 1
    texts = []
    for position, option in enumerate(choice.options):
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
