"""Brackets in prompts weigh what they hold, and whatever a prompt looks like, it is read."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.emphasis import FACTOR, MAX_WEIGHT, WeightedText, weighted_parts

Weighted = list[tuple[str, float]]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", []),
        ("a red mug", [[("a red mug", 1)]]),
        ("(red)", [[("red", FACTOR)]]),
        ("[red]", [[("red", 1 / FACTOR)]]),
        ("(red:1.3)", [[("red", 1.3)]]),
        ("(red: .3 ) mug", [[("red", 0.3), (" mug", 1)]]),
        ("(red:-1)", [[("red", -1)]]),
        ("(red:0)", [[("red", 0)]]),
        ("(from 1990:1.2)", [[("from 1990", 1.2)]]),
        # Brackets nest, and weights multiply.
        ("((red))", [[("red", FACTOR * FACTOR)]]),
        ("(a (b:2) c:1.5) d", [[("a ", 1.5), ("b", 3), (" c", 1.5), (" d", 1)]]),
        ("([red]:2)", [[("red", 2 / FACTOR)]]),
        (f"(red:{MAX_WEIGHT * 9})", [[("red", MAX_WEIGHT)]]),
        # A time or a ratio is no weight.
        ("(12:30)", [[("12:30", FACTOR)]]),
        (r"miku \(singer\), \[b\] \\ \x", [[(r"miku (singer), [b] \ \x", 1)]]),
        # A bracket without a partner, or which crosses another, is plain text.
        ("(red", [[("(red", 1)]]),
        ("red) mug]", [[("red) mug]", 1)]]),
        ("(a [b) c]", [[("a [b", FACTOR), (" c]", 1)]]),
        ("red:1.3)", [[("red:1.3)", 1)]]),
        (":1.3)", [[(":1.3)", 1)]]),
        # So is what other programs change between steps.
        ("[a:b:0.5] [a|b] [c]", [[("[a:b:0.5] [a|b] ", 1), ("c", 1 / FACTOR)]]),
        ("([a:b:5]:1.2)", [[("[a:b:5]", 1.2)]]),
        ("a BREAK b", [[("a ", 1)], [(" b", 1)]]),
        ("(a BREAK b:1.3)", [[("a ", 1.3)], [(" b", 1.3)]]),
        ("BREAK a BREAK BREAK", [[(" a ", 1)]]),
        ("BREAKFAST", [[("BREAKFAST", 1)]]),
    ],
)
def test_brackets_weigh_what_they_hold(prompt: str, parts: list[Weighted]) -> None:
    found = weighted_parts(prompt)
    assert [[text for text, _ in part] for part in found] == [[text for text, _ in part] for part in parts]
    for part, expected in zip(found, parts, strict=True):
        assert [weight for _, weight in part] == pytest.approx([weight for _, weight in expected])


def escaped(text: str) -> str:
    return re.sub(r"[()\[\]\\]", r"\\\g<0>", text)


@given(st.text(st.sampled_from("ab1 ()[]\\|:.,"), max_size=60))
def test_escaped_text_is_read_as_it_was(text: str) -> None:
    assert weighted_parts(escaped(text)) == ([[WeightedText(text, 1.0)]] if text.strip() else [])


plain = st.text(st.sampled_from("ab, ()[]\\"), min_size=1, max_size=6).filter(str.strip)
nested = st.recursive(
    plain.map(lambda text: (escaped(text), [(text, 1.0)])),
    lambda inner: st.tuples(
        st.lists(inner, min_size=1, max_size=3), st.sampled_from(["({})", "[{}]", "({}:1.2)", "({}:0.5)"])
    ).map(lambda drawn: around(*drawn)),
    max_leaves=6,
)


def around(inner: list[tuple[str, Weighted]], brackets: str) -> tuple[str, Weighted]:
    """A prompt whose inner ones are in brackets, and what it should be read as."""
    factor = {"({})": 1.1, "[{}]": 1 / 1.1, "({}:1.2)": 1.2, "({}:0.5)": 0.5}[brackets]
    # Letters around keep each text apart, and a `:` from its neighbours.
    whole = "x".join(prompt for prompt, _ in inner)
    texts: Weighted = []
    for number, (_, each) in enumerate(inner):
        texts += [*([("x", 1.0)] if number else []), *each]
    return brackets.format(f"y{whole}y"), [
        ("y", factor),
        *((text, weight * factor) for text, weight in texts),
        ("y", factor),
    ]


@given(nested)
def test_nested_brackets_multiply(drawn: tuple[str, Weighted]) -> None:
    prompt, expected = drawn
    found = [(sign, weight) for part in weighted_parts(prompt) for text, weight in part for sign in text]
    wanted = [(sign, weight) for text, weight in expected for sign in text]
    assert [sign for sign, _ in found] == [sign for sign, _ in wanted]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in wanted])


@given(st.text(st.sampled_from("ab ()[]\\|:1.5BREAK,-"), max_size=80))
def test_every_text_is_read_and_no_letter_is_lost(text: str) -> None:
    found = weighted_parts(text)
    assert all(abs(weight) <= MAX_WEIGHT for part in found for _, weight in part)
    letters = re.sub(r"\bBREAK\b", "", text)
    kept = "".join(piece for part in found for piece, _ in part)
    assert re.sub(r"[^abBREK]", "", kept) == re.sub(r"[^abBREK]", "", letters)


@pytest.mark.parametrize(
    "attack", ["(", "(a", "[", "[a:", "[a|", "\\(", "(a:1)", "BREAK ", " ", "[)", "a:1)", "(["]
)
def test_reading_takes_time_in_proportion_to_the_text(attack: str) -> None:
    start = time.process_time()
    weighted_parts(attack * (60_000 // len(attack)))
    assert time.process_time() - start < 2
