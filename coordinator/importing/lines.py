"""Prompt lists with one prompt per line, and flags within a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.wording import shortened
from coordinator.importing.imported import Account, UnusableSource, Wish

_LINE_END = re.compile(r"\r\n|\r|\n")
#: A flag follows a space or starts the line; a number such as `--5` is text.
_FLAG = re.compile(r"(?:^|(?<=\s))(?:--|—)(?P<name>[A-Za-z][\w-]{0,40})(?:=(?=\S)|(?=\s|$))")
_QUOTED = re.compile(r""""((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'""")
_ESCAPED = re.compile(r"\\([\"'\\])")

#: Maximum number of prompts in a list.
MAX_LINES = 100_000


def lines(text: str, account: Account | None = None) -> Iterator[tuple[str, str]]:
    """Non-empty lines without comments, each with its position."""
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if number > MAX_LINES:
            raise UnusableSource(f"has more than {MAX_LINES:,} lines; split it")
        place = f"line {number}"
        if line.lstrip().startswith("#"):
            if account is not None:
                account.leave(shortened(line, 30), "lines that begin with `#` are comments", place, "#")
        elif line.strip():
            yield place, line.strip()


def flags(line: str) -> tuple[str, list[tuple[str, str]]]:
    """The text before the first `--flag`, and the flags with their values.

    A quoted value can contain any text; an unquoted value extends to the next flag.
    """
    found: list[tuple[str, str]] = []
    match = _FLAG.search(line)
    before = line[: match.start()].strip() if match else line.strip()
    while match is not None:
        at = match.end()
        while at < len(line) and line[at].isspace():
            at += 1
        quoted = _QUOTED.match(line, at)
        if quoted and (quoted.end() == len(line) or line[quoted.end()].isspace()):
            value, at = _ESCAPED.sub(r"\1", quoted[1] or quoted[2] or ""), quoted.end()
            following = _FLAG.search(line, at)
            rest = line[at : following.start() if following else len(line)].strip()
            value = f"{value} {rest}" if rest else value
        else:
            following = _FLAG.search(line, match.end())
            value = line[at : following.start() if following else len(line)].strip()
        found.append((match["name"], value))
        match = following
    return before, found


def flagged(text: str, account: Account) -> Iterator[tuple[Wish, list[tuple[str, str]]]]:
    """The wish of each line, whose prompt is the text before the first flag, and the flags."""
    for place, line in lines(text, account):
        wish = Wish(place=place)
        before, found = flags(line)
        if before:
            wish.say("prompt", "line", before)
        yield wish, found


def flag_names(text: str) -> Iterator[str]:
    """The names of all flags in a list."""
    for _, line in lines(text):
        yield from (name for name, _ in flags(line)[1])
