"""Rules for prompts: words that a farm or a lane refuses, found in linear time.

A prompt is read as its words: letters and digits, in any case, without accents, with lookalikes replaced and
invisible characters left out. What stands between words does not count, so `(girl:1.2), little` is read as
`girl 1 2 little`, and `nude_girl` as two words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from common.lookalikes import plain
from common.proper_names import proper_name

_WORD = re.compile(r"[^\W_]+")
#: Says nothing of what it refuses.
_REMEDY = "describe something else there"


def _term(given: str) -> str:
    core = given.strip().strip("*")
    if not _words(core):
        raise ValueError("must have a letter or a digit")
    if "*" in core:
        raise ValueError("may have `*` at its ends only, such as `gun*` or `*gun*`")
    return given


#: A word or a phrase; `*` at an end stands for any other letters.
Term = Annotated[str, Field(max_length=200), AfterValidator(_term)]
Name = Annotated[str, AfterValidator(lambda given: proper_name(given, "a rule"))]


class PromptRule(BaseModel):
    """What a prompt must not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Told to whoever breaks it; the words are not.
    name: Name
    words: Annotated[tuple[Term, ...], Field(min_length=1)]
    #: If any: the rule holds only for prompts that have one of these as well.
    beside: tuple[Term, ...] = ()
    #: What to do instead, as the end of a sentence.
    remedy: str = ""


class BrokenRule(NamedTuple):
    name: str
    remedy: str
    #: What breaks it, as it stands in the prompt.
    piece: str


class _Text:
    """A text as its words, and where they stand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._letters, self._places = _letters(text)
        words = _WORD.findall(self._letters)
        self.words, self.line = set(words), f" {' '.join(words)} "

    def piece(self, needle: str, at: int) -> str:
        """What stands in the text where `needle` is found in `line`."""
        first = self.line.count(" ", 0, at + 1) - 1
        last = first + needle.strip().count(" ")
        words = list(islice(_WORD.finditer(self._letters), last + 1))
        start, end = words[first].start(), words[last].end() - 1
        if self._places is not None:
            start, end = self._places[start], self._places[end]
        return self._text[start : end + 1]


@dataclass(frozen=True, slots=True)
class _Terms:
    """Terms to look for: words in the set of a text's words, other terms in its line."""

    words: frozenset[str]
    needles: tuple[str, ...]

    @classmethod
    def of(cls, terms: Iterable[str]) -> _Terms:
        needles = [_needle(term) for term in terms]
        words = {needle for needle in needles if needle == f" {needle.strip()} " and needle.count(" ") == 2}
        others = (needle for needle in needles if needle not in words)
        return cls(frozenset(word.strip() for word in words), tuple(others))

    def first_in(self, text: _Text) -> str | None:
        """A needle that the line of a text has; None: there is none."""
        if not self.words.isdisjoint(text.words):
            return f" {min(self.words & text.words)} "
        return next((each for each in self.needles if each in text.line), None)


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: PromptRule
    terms: _Terms
    beside: _Terms

    @classmethod
    def of(cls, rule: PromptRule) -> _Rule:
        return cls(rule, _Terms.of(rule.words), _Terms.of(rule.beside))

    def broken(self, text: _Text) -> BrokenRule | None:
        needle = self.terms.first_in(text)
        if needle is None or (self.rule.beside and self.beside.first_in(text) is None):
            return None
        piece = text.piece(needle, text.line.index(needle))
        return BrokenRule(self.rule.name, self.rule.remedy or _REMEDY, piece)


class PromptRules:
    """The rules of one lane, the first of which counts."""

    def __init__(self, rules: Iterable[PromptRule] = ()) -> None:
        self._rules = tuple(map(_Rule.of, (*HARD_RULES, *rules)))

    def broken(self, prompt: str) -> BrokenRule | None:
        """The first rule that a prompt breaks; None: it breaks none."""
        text = _Text(prompt)
        return next((found for rule in self._rules if (found := rule.broken(text))), None)


def _needle(term: str) -> str:
    """What stands in the words of a text, between single blanks, if it has the term."""
    term = term.strip()
    start, end = ("" if term.startswith("*") else " "), ("" if term.endswith("*") else " ")
    return f"{start}{' '.join(_words(term))}{end}"


def _words(text: str) -> list[str]:
    return _WORD.findall(_letters(text)[0])


def _letters(text: str) -> tuple[str, list[int] | None]:
    """A text in one spelling, and the place in the text of each of its characters (None: the same)."""
    if text.isascii():
        return text.lower(), None
    spelled = [_spelled(char) for char in text]
    places = [place for place, some in enumerate(spelled) for _ in some]
    return "".join(spelled), places


@lru_cache(maxsize=4096)
def _spelled(char: str) -> str:
    folded = unicodedata.normalize("NFKD", plain(char).casefold())
    return "".join(each for each in folded if not unicodedata.category(each).startswith("M"))


_SEXUAL = (
    *("sex", "sexy", "sexual*", "sexualise*", "sexualize*", "intercourse", "nsfw", "nude", "nudes", "nudity"),
    *("naked*", "topless", "bottomless", "undressed", "unclothed", "lingerie", "porn*", "*porno*", "hentai"),
    *("ecchi", "erotic*", "erotik*", "lewd", "fetish*", "bdsm", "bondage", "orgasm*", "genital*", "penis"),
    *("vagina*", "blowjob*", "masturbat*", "fellatio", "cunnilingus"),
)


#: What an image of a real person may show only by consent of the person.
INTIMACY = PromptRule(
    name="intimacy",
    words=(*_SEXUAL, "nackt*", "unbekleidet*", "sexuell*", "érotique*", "sexuel*", "desnud*", "erótic*"),
)


def _minors(*words: str, sexual: tuple[str, ...] = ()) -> PromptRule:
    remedy = "this farm renders no sexual images of minors"
    return PromptRule(name="minors", words=words, beside=(*_SEXUAL, *sexual), remedy=remedy)


#: Hold in every lane, whatever the settings say. Words that mean something else in another language are left
#: out, as German `Kind` is.
HARD_RULES = (
    _minors(
        *("child", "children", "childlike", "kid", "kids", "kiddie", "toddler*", "infant", "infants"),
        *("baby girl", "baby boy", "preteen*", "pre teen*", "teen", "teens", "teenage*", "tween", "tweens"),
        *("underage*", "under age", "minors", "schoolgirl*", "schoolboy*", "school girl*", "school boy*"),
        *("little girl*", "little boy*", "young girl*", "young boy*", "loli", "lolis", "lolita*", "lolicon*"),
        *("shota", "shotas", "shotacon*", "prepubescent*", "pubescent*", "minor girl*", "minor boy*"),
    ),
    _minors(
        *("kleinkind*", "minderjährig*", "schulmädchen*", "schuljunge*", "kindlich*", "nacktes kind"),
        *("kleines mädchen", "kleiner junge", "junges mädchen", "kleinen mädchen"),
        sexual=("nackt*", "unbekleidet*", "sexuell*"),
    ),
    _minors(
        *("enfant", "enfants", "fillette*", "petite fille*", "petit garçon*", "mineure", "mineures"),
        sexual=("nu", "nue", "nus", "nues", "érotique*", "sexuel*"),
    ),
    _minors(
        *("niño", "niña", "niños", "niñas", "colegiala*", "menor de edad", "menores de edad"),
        sexual=("desnud*", "erótic*"),
    ),
)
