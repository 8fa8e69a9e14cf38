"""Formatting of words in messages, escaping of invisible characters, and suggestions for misspelled words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import islice

from common import lookalikes

_LIMIT = 60
#: Maximum length of a dotted path.
MAX_PATH = 300
#: Known words are listed only if there are at most this many.
_FEW = 8
#: Longer words are not compared: they are unlikely to be typing errors, and slow to compare.
_LONGEST = 80
#: Maximum number of known words that are compared.
_COMPARED = 2_000
#: Characters ignored when comparing spellings: spaces, `_` and `-`.
_JOINTS = re.compile(r"[\s_-]+")
#: Characters that a terminal interprets or does not show: control characters (C0, C1), direction marks,
#: zero-width characters, line separators, tags, surrogates. Joiners of emoji and letters count as text.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)


def shortened(text: str, limit: int = _LIMIT) -> str:
    """Returns the text on one line, truncated if it is long."""
    line = " ".join(text[: limit * 2].split())
    return line if len(line) <= limit and len(text) <= limit * 2 else f"{line[: limit - 1]}…"


def visible(text: str) -> str:
    """Returns the text on one line, with control and invisible characters as escapes.

    >>> print(visible("a\\x1b[2J\\nmug"))
    a\\x1b[2J\\nmug
    """
    return _UNSEEN.sub(_escape, text)


def visible_lines(text: str) -> str:
    """As `visible`, but keeps line breaks."""
    return "\n".join(map(visible, text.split("\n")))


def _escape(unseen: re.Match[str]) -> str:
    return unseen[0].encode("unicode_escape").decode()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the most likely intended known word; None if none is near. Never returns the word itself.

    A known word is near if it is the same word in another spelling, if one is a prefix of the other, or if
    they differ by at most two typing errors (a missing, extra, different or swapped letter) and by at most a
    third of the word. A prefix must have at least three characters and a third of the known word. Numbers are
    never near.
    """
    typed = _spelled(word)
    if not typed or typed.isdigit() or len(typed) > _LONGEST:
        return None
    best: tuple[int, int, str] | None = None
    for number, name in enumerate(islice(known, _COMPARED)):
        distance = _distance(typed, _spelled(name))
        if distance is not None and name != word and (best is None or (distance, number) < best[:2]):
            best = (distance, number, name)
    return best[2] if best else None


def _spelled(word: str) -> str:
    return _JOINTS.sub("", lookalikes.plain(word)).casefold()


def _distance(typed: str, name: str) -> int | None:
    """Returns the number of typing errors between two words; None if there are too many for a suggestion."""
    shorter, longer = sorted((typed, name), key=len)
    most = min(2, len(longer) // 3)
    if len(longer) - len(shorter) <= most and (slips := _slips(typed, name, most)) <= most:
        return slips
    begins = len(shorter) >= max(3, len(name) / 3) and longer.startswith(shorter)
    return 3 if begins and not name.isdigit() else None


def _slips(one: str, other: str, most: int) -> int:
    """Returns the optimal string alignment distance (Damerau 1964), capped at `most` + 1."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, start=1):
        previous, row = row, [i]
        for j, its in enumerate(other, start=1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (char != its))
            if i > 1 and j > 1 and char == other[j - 2] and one[i - 2] == its:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before = previous
    return row[-1]


def did_you_mean(word: str, near: str) -> str:
    """Returns `: did you mean `prompt`?`, or which character of the word is a lookalike."""
    odd = lookalikes.odd_character(word)
    if odd and lookalikes.plain(word).strip() == near:
        return f": {odd}; write `{near}`"
    return f": did you mean `{near}`?"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Returns `: did you mean `prompt`?`, or the list of known words if none is near and there are few."""
    words = list(known)
    near = nearest(word, words)
    if near is not None:
        return did_you_mean(word, near)
    if not words or len(words) > _FEW:
        return ""
    return f"; known {'are' if len(words) > 1 else 'is'} {listed(words)}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """Returns `a`, `b` and `c`, in backticks."""
    *most, final = [f"`{shortened(word)}`" for word in words]
    return f"{', '.join(most)} {last} {final}" if most else final


def quoted(text: str) -> str:
    """Returns the text on one line, in the YAML quotes that keep it readable."""
    if not text.isprintable():
        return json.dumps(text)
    if "\\" in text or '"' in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'
