"""How words read inside messages, what they hide, and the known one that was probably meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import islice

from common import lookalikes

_LIMIT = 60
#: Characters of a dotted path.
MAX_PATH = 300
#: Known words are listed where there are no more.
_FEW = 8
#: Longer words are no slips of known ones, and slow to compare.
_LONGEST = 80
#: Of more known words only so many are compared.
_COMPARED = 2_000
#: Ways to write one word: upper and lower case, blanks, `_` and `-`.
_JOINTS = re.compile(r"[\s_-]+")
#: What a screen obeys, orders text by or does not show: controls (C0, C1), marks of direction and without
#: width, line separators, tags, halves of characters. The joiners of emoji and of letters are text.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)


def shortened(text: str, limit: int = _LIMIT) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text[: limit * 2].split())
    return line if len(line) <= limit and len(text) <= limit * 2 else f"{line[: limit - 1]}…"


def visible(text: str) -> str:
    """The text on one line, with what a screen would obey or not show written as its escape.

    >>> print(visible("a\\x1b[2J\\nmug"))
    a\\x1b[2J\\nmug
    """
    return _UNSEEN.sub(_escape, text)


def visible_lines(text: str) -> str:
    """As `visible`, of a text that may have several lines."""
    return "\n".join(map(visible, text.split("\n")))


def _escape(unseen: re.Match[str]) -> str:
    return unseen[0].encode("unicode_escape").decode()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant; None if none is near, and never the word itself.

    Near is the same word in another spelling, its first letters (a third of it or more), the word with an
    ending, and one at most two slips away (a letter more, less, other or swapped), no more than a third of
    it. Numbers are never near.
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
    """Slips between two words; None where they are too many for the one to mean the other."""
    shorter, longer = sorted((typed, name), key=len)
    most = min(2, len(longer) // 3)
    if len(longer) - len(shorter) <= most and (slips := _slips(typed, name, most)) <= most:
        return slips
    begins = len(shorter) >= max(3, len(name) / 3) and longer.startswith(shorter)
    return 3 if begins and not name.isdigit() else None


def _slips(one: str, other: str, most: int) -> int:
    """Optimal string alignment distance (Damerau 1964), counted no further than `most` + 1."""
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
    """`: did you mean `prompt`?`, or which character of the word only looks right."""
    odd = lookalikes.odd_character(word)
    if odd and lookalikes.plain(word).strip() == near:
        return f": {odd}; write `{near}`"
    return f": did you mean `{near}`?"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`: did you mean `prompt`?`, or the known words where none is near and they are few."""
    words = list(known)
    near = nearest(word, words)
    if near is not None:
        return did_you_mean(word, near)
    if not words or len(words) > _FEW:
        return ""
    return f"; known {'are' if len(words) > 1 else 'is'} {listed(words)}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """`a`, `b` and `c`, in backticks."""
    *most, final = [f"`{shortened(word)}`" for word in words]
    return f"{', '.join(most)} {last} {final}" if most else final


def quoted(text: str) -> str:
    """A text in the quotes of YAML that leave it readable, on one line."""
    if not text.isprintable():
        return json.dumps(text)
    if "\\" in text or '"' in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'
