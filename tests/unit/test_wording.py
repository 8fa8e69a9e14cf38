"""Which known word is taken for the one that was meant, and which is not."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.wording import nearest, quoted, suggestion

GROUP = [
    "name",
    "model",
    "prompt",
    "negative",
    "loras",
    "size",
    "steps",
    "guidance",
    "sampler",
    "seeds",
    "axes",
    "allow_empty",
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("promt", "prompt"),
        ("porpmt", "prompt"),
        ("Prompt", "prompt"),
        ("neg", "negative"),
        ("prompts", "prompt"),
        ("axs", "axes"),
        ("guidence", "guidance"),
        ("sam-pler", "sampler"),
        ("prompt_text", "prompt"),
        ("allow", "allow_empty"),
        ("size_of_page", "size"),
    ],
)
def test_a_word_a_few_slips_away_is_meant(word: str, meant: str) -> None:
    assert nearest(word, GROUP) == meant
    assert suggestion(word, GROUP) == f": did you mean `{meant}`?"


@pytest.mark.parametrize(
    "word",
    # The last two are the first letters of far longer words.
    [
        *("from", "form", "draft", "text", "style", "x", "", "nom", "zoom", "using", "title", "ratio"),
        *("all", "si"),
    ],
)
def test_a_word_further_away_is_not_meant(word: str) -> None:
    assert nearest(word, GROUP) is None
    assert suggestion(word, GROUP) == ""


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("gb", ["bg"], "; known is `bg`"),
        ("gb", ["bg", "who"], "; known are `bg` and `who`"),
        ("x", [], ""),
        ("100", ["200"], "; known is `200`"),
    ],
)
def test_the_known_words_are_listed_where_none_is_near_and_they_are_few(
    word: str, known: list[str], hint: str
) -> None:
    assert suggestion(word, known) == hint


@given(st.lists(st.text(max_size=8), max_size=5), st.data())
def test_a_word_is_never_suggested_in_place_of_itself(known: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(known)) if known else "x"
    assert nearest(word, known) != word


def test_a_word_that_only_looks_right_is_told_by_its_odd_character() -> None:
    assert suggestion("рrompt", GROUP) == ": `р` is U+0440, Cyrillic; write `prompt`"
    assert suggestion("\u00a0prompt", GROUP) == ": U+00A0 is a no-break space; write `prompt`"


@pytest.mark.parametrize("text", ["a cat", "it's", 'the "x"', r"f\{2\}", "two\nlines", "a\u2028b"])
def test_a_quoted_text_reads_as_itself(text: str) -> None:
    assert yaml.safe_load(quoted(text)) == text
    assert quoted(text).isprintable()
