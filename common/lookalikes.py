"""Characters that look like others or like nothing: what they are, and what was meant."""

from __future__ import annotations

import unicodedata

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
#: Quotation marks that no YAML reader takes for such, opening and closing.
TYPOGRAPHIC_QUOTES = {"“": "”", "„": "“”", "‘": "’", "‚": "‘’", "«": "»", "»": "«", "”": "”", "’": "’"}


def plain(text: str) -> str:
    """The text in the characters of a plain keyboard, as far as odd ones look like such; the rest stays."""
    return text if text.isascii() else "".join(_meant(char) for char in text)


def odd_character(text: str) -> str | None:
    """The first character that is not what it looks like, such as "`х` is U+0445, Cyrillic"; or None."""
    char = next((char for char in text if _meant(char) != char), None)
    return None if char is None else named(char)


def meant_instead(text: str) -> str:
    """What to write for the odd characters of a text: the one there is, else the whole text."""
    odd = {char for char in text if _meant(char) != char}
    only = _meant(next(iter(odd))) if len(odd) == 1 else ""
    return only if only.strip() else plain(text).strip()


def named(char: str) -> str:
    """What a character is, by its code point."""
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


def _meant(char: str) -> str:
    """The plain character that this one looks like, nothing for an invisible one; itself if it is plain."""
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
