"""Rules for prompts: words that a farm or a lane refuses, found in linear time.

A prompt is read as its words: letters and digits, in any case, without accents, as written and as a model
reads them (`common.prompt_readings`). What stands between words does not count, so `(girl:1.2), little` is
read as `girl little`, `nude_girl` as two words, and `g(un:1.2)` as `gun`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from common.ages import under_age
from common.lookalikes import folded, latin
from common.prompt_readings import PromptReading, Vocabulary, readings, words_of
from common.proper_names import proper_name

#: Says nothing of what it refuses.
_REMEDY = "describe something else there"


def _term(given: str) -> str:
    core = given.strip().strip("*")
    if not words_of(core, folded):
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
    #: Where it starts in the prompt, from 0.
    at: int


class _Sought(Protocol):
    def first_in(self, reading: PromptReading) -> str | None:
        """What the line of a reading has; None: nothing that is sought."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """Terms to look for: words in the set of a text's words, other terms in its line."""

    words: frozenset[str]
    needles: tuple[str, ...]

    @classmethod
    def of(cls, terms: Iterable[str]) -> _Terms:
        needles = list(dict.fromkeys(needle for term in terms for needle in _needles(term)))
        words = {needle for needle in needles if needle == f" {needle.strip()} " and needle.count(" ") == 2}
        others = (needle for needle in needles if needle not in words)
        return cls(frozenset(word.strip() for word in words), tuple(others))

    def first_in(self, reading: PromptReading) -> str | None:
        if not self.words.isdisjoint(reading.words):
            return f" {min(self.words & reading.words)} "
        return next((each for each in self.needles if each in reading.line), None)


class _Ages:
    def first_in(self, reading: PromptReading) -> str | None:
        return under_age(reading.line)


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: PromptRule
    sought: _Sought
    beside: _Terms

    @classmethod
    def of(cls, rule: PromptRule) -> _Rule:
        return cls(rule, _Terms.of(rule.words), _Terms.of(rule.beside))

    def broken(self, prompt: str, found: Sequence[PromptReading]) -> BrokenRule | None:
        """One reading may have what is sought, and another the words beside it."""
        if self.rule.beside and all(self.beside.first_in(reading) is None for reading in found):
            return None
        for reading in found:
            if needle := self.sought.first_in(reading):
                start, end = reading.span(needle)
                return BrokenRule(self.rule.name, self.rule.remedy or _REMEDY, prompt[start:end], start)
        return None


class PromptRules:
    """The rules of one lane, the first of which counts."""

    def __init__(self, rules: Iterable[PromptRule] = ()) -> None:
        self._rules = (*_HARD, *map(_Rule.of, rules))

    def broken(self, prompt: str) -> BrokenRule | None:
        """The first rule that a prompt breaks; None: it breaks none."""
        found = readings(prompt, _VOCABULARY)
        return next((broken for rule in self._rules if (broken := rule.broken(prompt, found))), None)


def _needles(term: str) -> Iterable[str]:
    """What the line of a reading has if the text has the term; a phrase also as one word."""
    term = term.strip()
    start, end = ("" if term.startswith("*") else " "), ("" if term.endswith("*") else " ")
    for spelled in (folded, latin):
        words = words_of(term, spelled)
        yield f"{start}{' '.join(words)}{end}"
        if start:
            yield f"{start}{''.join(words)}{end}"


_SEXUAL = (
    *("sex", "sexy", "sexual*", "sexualise*", "sexualize*", "intercourse", "nsfw", "nude", "nudes", "nudity"),
    *("naked*", "topless", "bottomless", "undressed", "unclothed", "lingerie", "porn*", "*porno*", "hentai"),
    *("ecchi", "erotic*", "erotik*", "lewd", "fetish*", "bdsm", "bondage", "orgasm*", "genital*", "penis"),
    *("vagina*", "blowjob*", "masturbat*", "fellatio", "cunnilingus"),
    *("nackt*", "unbekleidet*", "sexuell*", "érotique*", "sexuel*", "desnud*", "erótic*"),
    *("секс*", "порно*", "эроти*", "хентай", "голый", "голая", "голое", "голые", "голых", "голую", "голого"),
    *("обнажен*", "обнажён*", "раздет*", "нагая", "нагой", "нагие", "оголен*"),
)


#: What prompts of a lane that promises SFW must not say.
EXPLICIT = PromptRule(name="explicit", words=_SEXUAL, remedy="this lane takes no sexual prompts")
#: What an image of a real person may show only by consent of the person.
INTIMACY = PromptRule(name="intimacy", words=_SEXUAL)


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
        *("kleines mädchen", "kleiner junge", "junges mädchen", "kleinen mädchen", "kinderporn*"),
    ),
    _minors(
        *("enfant", "enfants", "fillette*", "petite fille*", "petit garçon*", "mineure", "mineures"),
        sexual=("nu", "nue", "nus", "nues"),
    ),
    _minors(
        *("niño", "niña", "niños", "niñas", "colegiala*", "menor de edad", "menores de edad"),
    ),
    _minors(
        *("ребенок", "ребенка", "дети", "детей", "детск*", "девочк*", "мальчик*", "малыш*", "подросток"),
        *("подростк*", "несовершеннолетн*", "малолетн*", "школьниц*", "школьник*", "лоли", "дитина", "діти"),
        *("дівчинк*", "хлопчик*"),
    ),
)
_HARD = (
    *map(_Rule.of, HARD_RULES),
    _Rule(_minors("under age"), _Ages(), _Terms.of(_SEXUAL)),
)
#: Words of these rules, which are also found where they are written as one.
_VOCABULARY = Vocabulary(
    word
    for rule in HARD_RULES
    for term in (*rule.words, *rule.beside, "girls", "boys")
    for spelled in (folded, latin)
    for word in words_of(term, spelled)
    if len(word) >= 3
)
