"""What is printed or logged is shown as it is, and nothing in it is obeyed."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from common.terminal import LogFormatter, Terminal, speak_any_encoding, styled, styled_lines
from common.wording import visible, visible_lines

_OBEYED = "\x00\x07\x08\x0b\x0c\r\x1b\x7f\x85\x9b\u200f\u2028\u202e\u2066\ufeff\ud800\U000e0041"


def printed(*things: object, width: int = 200) -> str:
    terminal = Terminal(width=width)
    terminal.file = io.StringIO()
    terminal.print(*things)
    return terminal.file.getvalue().rstrip("\n")


@pytest.mark.parametrize(
    "text", ["[b]SALE[/b] [/i]", ":dragon: :smile:", "[white:red:0.5]", r"\[b]", "[link=x]y"]
)
def test_a_string_is_neither_markup_nor_the_name_of_an_emoji(text: str) -> None:
    table = Table(text)
    table.add_row(text)
    assert printed(text) == text
    assert printed(table).count(text) == 2
    assert printed(styled("a ", (text, "bold"))) == f"a {text}"


@pytest.mark.parametrize("char", _OBEYED)
def test_what_a_screen_obeys_is_written_as_its_escape(char: str) -> None:
    escape = ascii(char)[1:-1]
    table = Table(char)
    table.add_row(f"a{char}b")
    assert visible(f"a{char}b") == f"a{escape}b"
    assert printed(f"a{char}b") == f"a{escape}b"
    assert f"a{escape}b" in printed(table)
    assert printed(styled(f"a{char}b")) == f"a{escape}b"


@pytest.mark.parametrize("text", ["ï ß", "日本 年龄", "ملف", "👨‍👩‍👧 🏳️‍🌈", "می‌خواهم", "z̷̢̛"])
def test_what_a_screen_shows_is_left_alone(text: str) -> None:
    assert visible(text) == text


def test_a_line_break_stays_only_where_lines_are_meant() -> None:
    assert visible("a\nb") == r"a\nb"
    assert visible_lines("a\nb\r\nc") == "a\nb\\r\nc"
    assert printed("a\nb") == "a\nb"
    assert printed(styled("a\nb")) == r"a\nb"
    assert printed(styled_lines(["a\nb", "c"])) == "a\\nb\nc"


@given(st.text(st.characters()))
def test_nothing_that_is_escaped_is_escaped_again(text: str) -> None:
    assert visible(visible(text)) == visible(text)
    assert not any(char in visible(text) for char in _OBEYED)


def test_a_record_of_the_log_is_one_line_with_nothing_to_obey() -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(LogFormatter("%(levelname)s %(message)s"))
    record = logging.makeLogRecord({"msg": "card %s", "args": ("[/nope]\n\x1b[2J",), "levelname": "INFO"})
    handler.emit(record)
    assert handler.stream.getvalue() == "INFO card [/nope]\\n\\x1b[2J\n"


def test_a_traceback_in_the_log_keeps_its_lines_and_is_not_obeyed() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    lines = LogFormatter("%(message)s").format(record).split("\n")
    assert lines[0] == "failed"
    assert lines[-1] == r"ValueError: \x1b[2J"


def test_what_an_encoding_lacks_is_written_as_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", stream)
    speak_any_encoding()
    print("年", flush=True)
    assert stream.buffer.getvalue() == b"\\u5e74\n"
