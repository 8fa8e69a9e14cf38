"""Prompts are cut into chunks that a text encoder reads at once."""

from __future__ import annotations

from math import lcm

from hypothesis import given
from hypothesis import strategies as st

from common.prompt_chunks import CHUNK, MIN_TOKENS, count_tokens, padded_count, prompt_chunks

COMMA = ord(",")


def chunks(prompt: str) -> list[str]:
    """A token a letter."""
    found = prompt_chunks(prompt, lambda text: [ord(sign) for sign in text], COMMA)
    return ["".join(chr(token.id) for token in chunk) for chunk in found]


def test_a_chunk_has_75_tokens_unless_a_comma_is_near() -> None:
    assert chunks("") == []
    assert chunks("a" * 75) == ["a" * 75]
    assert chunks("a" * 76) == ["a" * 75, "a"]
    assert chunks("a" * 55 + "," + "b" * 50) == ["a" * 55 + ",", "b" * 50]
    # 20 tokens before the end at the most; what the chunk holds wholly stays in it.
    assert chunks("a" * 54 + "," + "b" * 50) == ["a" * 54 + "," + "b" * 20, "b" * 30]
    assert chunks("a" * 60 + "," + "b" * 14 + "," + "c") == ["a" * 60 + "," + "b" * 14, ",c"]


def test_break_begins_a_chunk() -> None:
    assert chunks("a BREAK b") == ["a ", " b"]
    assert chunks("a" * 80 + " BREAK " + "b") == ["a" * 75, "a" * 5 + " ", " b"]


def test_tokens_have_the_weight_of_their_text() -> None:
    (chunk,) = prompt_chunks("a(b:1.5)", lambda text: [ord(sign) for sign in text], COMMA)
    assert [(chr(token.id), token.weight) for token in chunk] == [("a", 1.0), ("b", 1.5)]


prompts = st.text(st.sampled_from("ab,"), max_size=400)


@given(prompts)
def test_no_token_is_lost_and_no_chunk_is_too_long_or_needlessly_short(prompt: str) -> None:
    found = chunks(prompt)
    assert "".join(found) == prompt
    assert all(len(chunk) <= CHUNK for chunk in found)
    assert all(len(chunk) >= MIN_TOKENS for chunk in found[:-1])
    assert all(found)


@given(prompts)
def test_a_chunk_before_another_counts_as_full(prompt: str) -> None:
    found = chunks(prompt)
    whole = "".join(chunk.ljust(CHUNK, "-") for chunk in found[:-1]) + "".join(found[-1:])
    assert count_tokens(found) == len(whole)


def test_numbers_of_chunks_have_small_common_multiples() -> None:
    counts = {padded_count(chunks) for chunks in range(13)}
    assert counts == {1, 2, 3, 6, 12}
    assert lcm(*counts) == max(counts)
    assert all(padded_count(chunks) >= chunks for chunks in range(100))
