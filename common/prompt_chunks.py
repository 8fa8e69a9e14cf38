"""Prompts in chunks, for models whose text encoder reads 75 tokens at once: those of Stable Diffusion.

Each chunk is encoded by itself, and the denoiser attends to the embeddings of all chunks in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from common.emphasis import weighted_parts

#: Tokens of a chunk, without those that begin and end it.
CHUNK = 75
#: A chunk ends early behind a comma among its last tokens, as in AUTOMATIC1111's web UI.
_COMMA_REACH = 20
#: Each chunk but the last of a part has at least so many tokens, unless textual inversions follow.
MIN_TOKENS = CHUNK - _COMMA_REACH + 1
#: The token of a comma at the end of a word, in CLIP's vocabulary.
COMMA = ",</w>"


class WeightedToken(NamedTuple):
    #: Negative for a vector of a textual inversion (`common.textual_inversions`).
    id: int
    weight: float


def prompt_chunks(
    prompt: str, ids_of: Callable[[str], Sequence[int]], comma: int | None
) -> list[list[WeightedToken]]:
    """Returns the chunks of a prompt.

    `ids_of` returns the tokens of a text, `comma` is the token of a comma.
    """
    return [
        chunk
        for part in weighted_parts(prompt)
        for chunk in _cut(
            [WeightedToken(id_, weight) for text, weight in part for id_ in ids_of(text)], comma
        )
    ]


def count_tokens(chunks: Sequence[Sequence[object]]) -> int:
    """Returns the tokens of a prompt; a chunk that another follows counts as full."""
    return CHUNK * (len(chunks) - 1) + len(chunks[-1]) if chunks else 0


def padded_count(chunks: int) -> int:
    """Returns the number of chunks that a prompt gets through empty ones: 1, 2, 3, 6, 12, 24 …

    Every two of these numbers have a small common multiple, so that prompts of different lengths can share a
    pass.

    >>> [padded_count(chunks) for chunks in (0, 1, 2, 3, 4, 7)]
    [1, 1, 2, 3, 6, 12]
    """
    padded = max(1, min(chunks, 3))
    while padded < chunks:
        padded *= 2
    return padded


def _cut(tokens: list[WeightedToken], comma: int | None) -> Iterator[list[WeightedToken]]:
    start = 0
    while len(tokens) - start > CHUNK:
        end = start + CHUNK
        if tokens[end].id != comma:
            reach = range(end - 1, end - 1 - _COMMA_REACH, -1)
            end = next((at + 1 for at in reach if tokens[at].id == comma), end)
            end = _before_vectors(tokens, start, end)
        yield tokens[start:end]
        start = end
    if start < len(tokens):
        yield tokens[start:]


def _before_vectors(tokens: Sequence[WeightedToken], start: int, end: int) -> int:
    """Moves the end of a chunk in front of a textual inversion that it would cut in two."""
    at = end
    while at > start and tokens[at].id < 0 and tokens[at].id == tokens[at - 1].id - 1:
        at -= 1
    return at if at > start else end
