"""Characters that look like other characters or are invisible: their names and the intended characters."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_CYRILLIC = dict(zip("асеһіјкорԛѕуѵԝхАВСЕНІЈКМОРЅТУХ", "acehijkopqsyvwxABCEHIJKMOPSTYX", strict=True))
_GREEK = dict(zip("αικνορυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aikvopuxABEZHIKMNOPTYX", strict=True))
_SIGNS = {
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("“”„‟«»", '"'),
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("×✕✖", "x"),
    **dict.fromkeys("∶꞉", ":"),
    **dict.fromkeys("⁄∕", "/"),
    "ı": "i",
    "、": ",",
}
_PLAIN = _CYRILLIC | _GREEK | _SIGNS
#: Pairs of a letter and the Latin one that it looks like, chosen from `confusables.txt` of Unicode Technical
#: Standard 39, with the small letters of those whose capitals are listed there.
_PAIRS = (
    "ЬbԁdҽeӏlӀlгrвbмmнhтtѡwүyҮyϲcϹcϳjͿjγyσoϱpβbεeηnτtωwμu"  # Cyrillic, Greek
    "քfցgհhոnռnօoՕoգqզqՏsսuՍuաw"  # Armenian
    "ᎪaᏟcᎠdᎬeᏀgᎻhᎥiᎫjᏦkᏞlᎷmᏢpᎡrᏚsᎢtᏙvᎳwᎩyᏃz"  # Cherokee
    "ꓮaꓐbꓚcꓓdꓰeꓝfꓖgꓧhꓲiꓙjꓗkꓡlꓟmꓠnꓳoꓑpꓣrꓢsꓔtꓴuꓦvꓪwꓫxꓬyꓜz"  # Lisu
    "ᗅaᗷbᑕcᗞdᖴfᕼhᒍjᒪlᗰmᑭpᖇrᑌuᐯv᙭x"  # Canadian syllabics
    "ⲥcⲎhⲒiⲔkⲘmⲚnⲟoⲣpⲦtⲨyסoاlهo∪u∨v⍺a⍳i⍴p℮e"  # Coptic and others
)
_LATIN = dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True))
#: Names, in the Unicode Character Database, of letters that are a Latin one in another form: small capitals,
#: letters in circles and squares, flags, turned letters and those with a stroke.
_FORM = re.compile(
    r"(?:LATIN|NEGATIVE|CROSSED|REGIONAL|CIRCLED|SQUARED)\b.*(?:LETTER|CAPITAL)(?: [A-Z]+)? ([A-Z])"
    r"(?: WITH .+)?"
)
#: Letters and signs that show as nothing or as a blank: Hangul and Khmer fillers, an empty Braille pattern.
_FILLERS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
#: Opening and closing quotation marks that YAML does not recognise.
TYPOGRAPHIC_QUOTES = {"“": "”", "„": "“”", "‘": "’", "‚": "‘’", "«": "»", "»": "«", "”": "”", "’": "’"}


def plain(text: str) -> str:
    """Returns the text with lookalikes replaced by the characters of a plain keyboard; keeps all others."""
    return text if text.isascii() else "".join(_plain_char(char) for char in text)


def odd_character(text: str) -> str | None:
    """Describes the first misleading character, such as "`х` is U+0445, Cyrillic"; None if there is none."""
    char = next((char for char in text if _plain_char(char) != char), None)
    return None if char is None else named(char)


def meant_instead(text: str) -> str:
    """Returns what to write instead: the plain character if only one is misleading, else the whole text."""
    odd = {char for char in text if _plain_char(char) != char}
    only = _plain_char(next(iter(odd))) if len(odd) == 1 else ""
    return only if only.strip() else plain(text).strip()


def named(char: str) -> str:
    """Describes a character by its code point."""
    name = unicodedata.name(char, "control character")
    first = name.partition(" ")[0]
    if unicodedata.category(char)[0] in "LN" or first == "FULLWIDTH":
        kind = "full-width" if first == "FULLWIDTH" else first.capitalize()
    else:
        kind = f"{'an' if name[0] in 'AEIOU' else 'a'} {name.lower()}"
    code = f"U+{ord(char):04X}"
    return f"{code} is {kind}" if _is_invisible(char) else f"`{char}` is {code}, {kind}"


def _is_invisible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) == "Cf"


def _plain_char(char: str) -> str:
    """Returns the plain character that this one resembles, `""` for an invisible one, or itself."""
    if char.isascii():
        return char
    if char in _PLAIN:
        return _PLAIN[char]
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Cf":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(char))
    folded = unicodedata.normalize("NFKC", char)
    return folded if len(folded) == 1 and folded.isascii() else char


def is_unseen(char: str) -> bool:
    """Whether a character shows as nothing: fillers, marks without width, controls, what has no character."""
    return char in _FILLERS or (unicodedata.category(char)[0] == "C" and not char.isspace())


@lru_cache(maxsize=4096)
def folded(char: str) -> str:
    """Letters of a character in one case, without accents and other forms of it; `""` if it is unseen.

    >>> folded("É"), folded("ⓝ"), folded("ﬁ"), folded("\u200b")
    ('e', 'n', 'fi', '')
    """
    if not char or is_unseen(char):
        return ""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    kept = "".join(each for each in parts if unicodedata.category(each)[0] != "M")
    letters = "".join(filter(str.isalnum, kept))
    return letters or kept


@lru_cache(maxsize=4096)
def latin(char: str) -> str:
    """As `folded`, but as the Latin letter that the character looks like.

    >>> latin("Н"), latin("օ"), latin("ɴ"), latin("ø")
    ('h', 'o', 'n', 'o')
    """
    return "".join(_latin(each) for each in folded(_latin(char)))


def _latin(char: str) -> str:
    if char.isascii():
        return char
    if (found := _LATIN.get(char) or _plain_char(char)) != char:
        return found
    form = _FORM.fullmatch(unicodedata.name(char, ""))
    return form[1].lower() if form else char
