r"""Emphasis in prompts: `(x)`, `(x:1.2)`, `[x]` and `BREAK`, as in AUTOMATIC1111's web UI.

    (x)  (x:1.2)  [x]     x with 1.1 times the weight, with 1.2 times, with 1/1.1
    a BREAK b             two parts, encoded apart
    \( \) \[ \] \\        the characters themselves

Brackets nest, and weights multiply. A bracket without a partner is plain text, and so is one around what that
program changes between steps: `[a:b:0.5]`, `[a|b]`. Parsing takes time in proportion to the text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Factor of a bracket without a number.
FACTOR = 1.1
#: Weights are limited to this, also where brackets multiply: a larger one is nothing but noise.
MAX_WEIGHT = 10.0

#: Before the `:` of a time or ratio such as `(12:30)` there is a digit; a weight there has decimals.
_COLON = r"(?:(?<=[^\d\s]):|:(?=\s{0,9}[-+]?\d{0,9}\.\d))"
_NUMBER = r"[-+]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})"
_TOKEN = re.compile(
    rf"\\[()\[\]\\]|[(\[|]|{_COLON}\s{{0,9}}(?P<number>{_NUMBER})\s{{0,9}}[)\]]|[)\]]|\bBREAK\b"
)
#: All that may be emphasis, with or without a partner, and the blanks around a `BREAK`. A `|` ends a text.
SYNTAX = re.compile(rf"(?!\|)(?:\s{{0,9}}\bBREAK\b\s{{0,9}}|{_TOKEN.pattern}|\\)")


class WeightedText(NamedTuple):
    text: str
    #: 1 leaves the text as it is.
    weight: float


def weighted_parts(prompt: str) -> list[list[WeightedText]]:
    """Returns the parts between `BREAK`s, each as its texts with weights; those without text are left out.

    >>> weighted_parts("a (red:1.2) mug BREAK a lamp")  # doctest: +NORMALIZE_WHITESPACE
    [[WeightedText(text='a ', weight=1.0), WeightedText(text='red', weight=1.2),
      WeightedText(text=' mug ', weight=1.0)], [WeightedText(text=' a lamp', weight=1.0)]]
    """
    tokens = list(_TOKEN.finditer(prompt))
    factors = _factors(tokens)
    parts: list[list[WeightedText]] = [[]]
    weights = [1.0]
    at = 0
    for number, token in enumerate(tokens):
        _add(parts[-1], prompt[at : token.start()], weights[-1])
        at = token.end()
        if token[0] == "BREAK":
            parts.append([])
        elif number not in factors:
            _add(parts[-1], token[0].removeprefix("\\"), weights[-1])
        elif (factor := factors[number]) is None:
            weights.pop()
        else:
            weights.append(max(-MAX_WEIGHT, min(weights[-1] * factor, MAX_WEIGHT)))
    _add(parts[-1], prompt[at:], weights[-1])
    return [part for part in parts if any(text.strip() for text, _ in part)]


def _factors(tokens: list[re.Match[str]]) -> dict[int, float | None]:
    """Returns the factor of each bracket that opens, and None for its partner, by number of the token.

    Brackets that cross others, have no partner or belong to other syntax are missing.
    """
    found: dict[int, float | None] = {}
    opened: list[int] = []
    left = {"(": 0, "[": 0}
    other: set[int] = set()
    for number, token in enumerate(tokens):
        sign = token[0]
        if sign in left:
            opened.append(number)
            left[sign] += 1
        elif sign == "|" and opened:
            other.add(opened[-1])
        elif sign[-1] in ")]" and sign[0] != "\\":
            kind = "(" if sign[-1] == ")" else "["
            partner = None
            while left[kind] and partner is None:
                last = opened.pop()
                left[tokens[last][0]] -= 1
                partner = last if tokens[last][0] == kind else None
            if partner is not None and (factor := _factor(token, partner in other)) is not None:
                found[partner], found[number] = factor, None
    return found


def _factor(closing: re.Match[str], is_alternation: bool) -> float | None:
    """Returns the factor of the brackets that `closing` closes; None if they are plain text."""
    if closing[0][-1] == "]":
        return None if closing["number"] or is_alternation else 1 / FACTOR
    return float(closing["number"]) if closing["number"] else FACTOR


def _add(part: list[WeightedText], text: str, weight: float) -> None:
    """Appends a text; one piece for neighbours of equal weight, so that words are not cut by escapes."""
    if not text:
        return
    if part and part[-1].weight == weight:
        part[-1] = WeightedText(part[-1].text + text, weight)
    else:
        part.append(WeightedText(text, weight))
