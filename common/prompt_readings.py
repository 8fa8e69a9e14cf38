"""A prompt as the words that a person or a model may read in it.

Models leave out the special tokens of their text encoders and the syntax of emphasis; people overlook signs
within words. Reading takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, product

from common.emphasis import SYNTAX
from common.lookalikes import folded, is_unseen, latin
from common.textual_inversions import MENTION

_WORD = re.compile(r"[^\W_]+")
#: Special tokens of CLIP, T5, Qwen and Mistral, at the end of a text.
_SPECIAL = re.compile(r"<(?:\|[a-z0-9_]{1,30}\||/?s|unk|pad|mask|extra_id_\d{1,4}|/?[a-z]+_call)>\Z", re.I)
_LONGEST_SPECIAL = 40
#: Not part of a prompt's words for a model that reads emphasis.
_SYNTAX = re.compile(rf"{MENTION.pattern}|{SYNTAX.pattern}")
#: Without one of these there is no syntax.
_SYNTAX_SIGN = re.compile(r"[()\[\]\\:]|BREAK")
#: What a word may be cut by; commas end words also where no blank follows.
_SIGNS = re.compile(r"(?<=\w)[^\w\s,;]+(?=\w)|_+")
#: Longer words are not taken apart.
_LONGEST_JOINED = 64

#: A text, and the place of each of its characters in the prompt.
_Placed = tuple[str, Iterable[int]]


class PromptReading:
    """The words of a text, between single blanks in `line`, and where they stand in the prompt."""

    def __init__(
        self, placed: _Placed, spelled: Callable[[str], str], parts: Mapping[str, Sequence[str]] = {}
    ) -> None:
        """`parts` are those of words that are several in one."""
        self._placed, self._spelled, self._parts = placed, spelled, parts
        self._letters = spell(placed[0], spelled)
        words = _WORD.findall(self._letters)
        if parts:
            words = [part for word in words for part in parts.get(word, (word,))]
        self.words, self.line = set(words), f" {' '.join(words)} "

    def span(self, needle: str) -> tuple[int, int]:
        """Start and end in the prompt of what is found first in `line` as `needle`."""
        first = self.line.count(" ", 0, self.line.index(needle) + 1) - 1
        last = first + needle.strip().count(" ")
        spans = (
            match.span()
            for match in _WORD.finditer(self._letters)
            for _ in self._parts.get(match[0], (match[0],))
        )
        found = list(islice(spans, first, last + 1))
        text, places = self._placed
        known = list(places)
        if not text.isascii():
            known = [place for char, place in zip(text, known, strict=True) for _ in self._spelled(char)]
        return known[found[0][0]], known[found[-1][1] - 1] + 1


def spell(text: str, spelled: Callable[[str], str]) -> str:
    return text.lower() if text.isascii() else "".join(map(spelled, text))


def words_of(text: str, spelled: Callable[[str], str]) -> list[str]:
    return _WORD.findall(spell(text, spelled))


def readings(prompt: str, vocabulary: Vocabulary) -> list[PromptReading]:
    """All readings of a prompt that differ, as it is written first.

    Besides: as a model reads it, with what stands on both sides of syntax as one word and as two; without
    signs in words; and with words of the vocabulary apart that are written as one.
    """
    written: _Placed = (prompt, range(len(prompt)))
    plain = _without_special_tokens(written)
    joined, parted = _without_special_tokens(_joined(plain)), _parted(plain)
    if _SYNTAX_SIGN.search(prompt):
        joined = _without_special_tokens(_replaced(joined, _SYNTAX, ""))
        parted = _replaced(parted, _SYNTAX, " ")
    texts = (written, joined, parted, _replaced(joined, _SIGNS, ""))
    spellings = (folded,) if prompt.isascii() else (folded, latin)
    found: dict[str, PromptReading] = {}
    for placed, spelled in product({text: (text, places) for text, places in texts}.values(), spellings):
        reading = PromptReading(placed, spelled)
        found.setdefault(reading.line, reading)
        if parts := vocabulary.parts(reading.words):
            apart = PromptReading(placed, spelled, parts)
            found.setdefault(apart.line, apart)
    return [*found.values()]


class Vocabulary:
    """Words that are also found where several of them are written as one, as in `oldhouse`."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        self._heads = {word[:3] for word in self._words}

    def parts(self, words: Iterable[str]) -> dict[str, list[str]]:
        """The words that are several of the vocabulary, and those."""
        likely = (word for word in words if word[:3] in self._heads and word not in self._words)
        return {word: parts for word in likely if (parts := self._apart(word))}

    def _apart(self, word: str) -> list[str]:
        if len(word) > _LONGEST_JOINED:
            return []
        #: By length of a beginning: the words that it is made of.
        found: dict[int, list[str]] = {0: []}
        for end in range(3, len(word) + 1):
            for start in range(end - 2):
                if start in found and word[start:end] in self._words:
                    found[end] = [*found[start], word[start:end]]
                    break
        return found.get(len(word), [])


def _without_special_tokens(placed: _Placed) -> _Placed:
    """Also without those that the removal of others makes."""
    text, places = placed
    if ">" not in text or "<" not in text:
        return placed
    kept: list[str] = []
    known: list[int] = []
    for char, place in zip(text, places, strict=True):
        kept.append(char)
        known.append(place)
        if char == ">" and (token := _SPECIAL.search("".join(kept[-_LONGEST_SPECIAL:]))):
            del kept[-len(token[0]) :], known[-len(token[0]) :]
    return "".join(kept), known


def _joined(placed: _Placed) -> _Placed:
    """Without characters that show as nothing."""
    text, places = placed
    if text.isascii():
        return placed
    seen = [(char, place) for char, place in zip(text, places, strict=True) if not is_unseen(char)]
    return "".join(char for char, _ in seen), [place for _, place in seen]


def _parted(placed: _Placed) -> _Placed:
    """With blanks where something was taken out or shows as nothing."""
    text, places = placed
    if text.isascii() and isinstance(places, range):
        return placed
    chars: list[str] = []
    known: list[int] = []
    for char, place in zip(text, places, strict=True):
        if known and place > known[-1] + 1:
            chars.append(" ")
            known.append(place - 1)
        chars.append(" " if is_unseen(char) else char)
        known.append(place)
    return "".join(chars), known


def _replaced(placed: _Placed, pattern: re.Pattern[str], by: str) -> _Placed:
    text, places = placed
    cuts = [match.span() for match in pattern.finditer(text)]
    if not cuts:
        return placed
    whole, pieces, known, at = list(places), [], [], 0
    for start, end in (*cuts, (len(text), len(text))):
        pieces += [text[at:start], by if start < end else ""]
        known += whole[at:start] + whole[start : start + len(pieces[-1])]
        at = end
    return "".join(pieces), known
