"""Characters that look like other characters or are invisible: their names and the intended characters."""

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
