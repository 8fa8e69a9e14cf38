"""Ages under 18 in the words of a text, in several languages."""

from __future__ import annotations

import re

_NUMBERS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
)
_NUMBER = rf"(?:0?\d|1[0-7]|{'|'.join(_NUMBERS)})"
#: Behind one of these, `one` is part of a larger number.
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
#: Letters are without accents, as in a reading of a prompt.
_AGE = re.compile(
    rf"{''.join(f'(?<! {tens})' for tens in _TENS)}"
    rf" (?:{_NUMBER} ?(?:(?:years?|yrs?|y|months?|mos?) ?(?:olds?|o)|yo|years? of age)"
    rf"|aged? (?:of )?{_NUMBER}|(?:under|below|younger than) (?:18|eighteen)"
    rf"|{_NUMBER} ?(?:jahre? alt|jahrige[mnrs]?)|(?:de|agee?s?) {_NUMBER} ans|{_NUMBER} anos"
    rf"|{_NUMBER} ?(?:лет(?! назад )|летн\w*))(?= )"
)
_DRINKS = "whisky|whiskey|scotch|bourbon|malt|rum|wine|port|brandy|cognac|cheese"
#: What follows the age of a drink.
_DRINK = re.compile(rf"(?: years?)?(?: (?:single|blended|red|white|highland|islay))? (?:{_DRINKS}) ")
#: Persons who may be meant wherever an age stands.
_PERSON = re.compile(
    r" (?:girls?|boys?|girlfriend|daughters?|sons?|sisters?|brothers?|nieces?|nephews?|students?|pupils?"
    r"|females?|males?|she|he|models?|fille|garcon|madchen|junge|nina|nino) "
)


def under_age(line: str) -> str | None:
    """The first age under 18 in a line of words between single blanks, with a blank before it.

    The age of a drink is none, unless the line has a word for a young person.

    >>> under_age(" a 12 year old boy ")
    ' 12 year old'
    >>> under_age(" a 12 year old whisky ") is under_age(" 18 years old ") is None
    True
    """
    for age in _AGE.finditer(line):
        if not _DRINK.match(line, age.end()) or _PERSON.search(line):
            return age[0]
    return None
