"""Captions are drawn in any script, and what no font has is written, never drawn as a box."""

from __future__ import annotations

import pytest
from PIL import Image

from coordinator.cli.lettering import Lettering, remedy

#: As on a machine without fonts.
SHIPPED_ONLY: tuple[str, ...] = ()


def drawn(text: str) -> bytes:
    lettering = Lettering(12, SHIPPED_ONLY)
    paper = Image.new("RGB", (80, 20), "white")
    lettering.draw(paper, (0, 0), lettering.spelled(text), "black")
    return paper.tobytes()


@pytest.mark.parametrize("text", ["ïßÆøŁİ", "Название", "αβγ", "كوب", "שלום", "→×·…", "😀", "z\u0301\u0322"])
def test_the_shipped_font_has_the_scripts_it_is_shipped_for(text: str) -> None:
    lettering = Lettering(12, SHIPPED_ONLY)
    assert lettering.spelled(text) == text
    assert lettering.missing == ""


def test_letters_are_drawn_each_in_its_own_shape() -> None:
    assert len({drawn(char) for char in "ïiЖжαאعß"}) == 8


@pytest.mark.parametrize(
    ("char", "code"), [("年", "\\u5e74"), ("ह", "\\u0939"), ("ि", "\\u093f"), ("🍣", "\\U0001f363")]
)
def test_what_no_font_has_is_written_as_its_code_and_told(char: str, code: str) -> None:
    lettering = Lettering(12, SHIPPED_ONLY)
    assert lettering.spelled(f"a{char}b{char}") == f"a{code}b{code}"
    assert lettering.missing == char
    assert drawn(char) == drawn(code)


def test_the_joins_of_emoji_need_no_font() -> None:
    lettering = Lettering(12, SHIPPED_ONLY)
    assert lettering.spelled("❤\ufe0f\u200d😀") == "❤😀"
    assert lettering.missing == ""


def test_what_a_screen_would_obey_is_written_as_its_escape() -> None:
    assert Lettering(12, SHIPPED_ONLY).spelled("a\x1b[2J\u202eb\ud83d") == r"a\x1b[2J\u202eb\ud83d"


def test_a_font_that_the_system_lacks_is_passed_over() -> None:
    assert Lettering(12, ("no such font.ttf",)).spelled("年") == r"\u5e74"


def test_the_remedy_names_the_fonts_for_each_script_once() -> None:
    assert remedy("年龄한の") == "Noto Sans CJK (Debian: fonts-noto-cjk)"
    assert remedy("年🍣") == (
        "Noto Sans CJK (Debian: fonts-noto-cjk) and Noto Color Emoji (Debian: fonts-noto-color-emoji)"
    )
    assert remedy("ह") == "Noto Sans (Debian: fonts-noto-core)"


def test_as_many_characters_fit_as_their_width_allows() -> None:
    lettering = Lettering(12, SHIPPED_ONLY)
    assert lettering.fitting("iiii", 1000) == 4
    assert lettering.fitting("iiii", 0) == 0
    assert 0 < lettering.fitting("w" * 50, 100) < lettering.fitting("i" * 50, 100) < 50
