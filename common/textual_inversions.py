"""Textual inversions in prompts: `embedding:NAME` stands for the vectors of a file, as in ComfyUI."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

#: What precedes a name in a prompt.
MARK = "embedding:"
#: A mention; its group is the name.
MENTION = re.compile(rf"\b{MARK}([A-Za-z0-9](?:[A-Za-z0-9._-]{{0,61}}[A-Za-z0-9_])?)")
#: Tokens that one may have: those of a chunk, which all of them share.
MAX_VECTORS = 75


def mentioned(text: str) -> list[str]:
    """The names in a text, each once, in the order of their first places.

    >>> mentioned("a (embedding:easy-neg:1.2), embedding:b. embedding:easy-neg")
    ['easy-neg', 'b']
    """
    return list(dict.fromkeys(match[1] for match in MENTION.finditer(text))) if MARK in text else []


def vector_ids(vectors: Mapping[str, int]) -> dict[str, range]:
    """Tokens that stand for the vectors of each textual inversion, given their numbers: negative, consecutive
    within one and never from one to the next.

    >>> vector_ids({"a": 2, "b": 1})
    {'a': range(-1, -3, -1), 'b': range(-4, -5, -1)}
    """
    found, first = {}, -1
    for name, number in vectors.items():
        found[name] = range(first, first - number, -1)
        first -= number + 1
    return found


def with_vectors(
    ids_of: Callable[[str], Sequence[int]], ids: Mapping[str, Sequence[int]]
) -> Callable[[str], Sequence[int]]:
    """`ids_of`, which returns the tokens of a text, with those of `ids` for the names that are known."""

    def found(text: str) -> list[int]:
        tokens: list[int] = []
        at = 0
        for match in MENTION.finditer(text):
            if match[1] in ids:
                tokens += [*_some(ids_of, text[at : match.start()]), *ids[match[1]]]
                at = match.end()
        return [*tokens, *_some(ids_of, text[at:])]

    return found if ids else ids_of


def _some(ids_of: Callable[[str], Sequence[int]], text: str) -> Sequence[int]:
    return ids_of(text) if text.strip() else ()
