"""Names of owners, keys and lanes."""

from __future__ import annotations

import re

from common.wording import visible

#: Maximum number of characters in a name.
LONGEST = 63
PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST - 1}}}$"


def owner_name(given: str) -> str:
    """Returns the name of an owner of jobs. Raises ValueError, with a sentence, for what cannot be one.

    >>> owner_name("ana")
    'ana'
    """
    return proper_name(given, "an owner")


def proper_name(given: str, of: str) -> str:
    """Returns the name of an owner, a key or a lane. Raises ValueError, with a sentence, for others."""
    if not re.fullmatch(PATTERN, given):
        raise ValueError(
            f"`{visible(given[:200])}` cannot be the name of {of}: use up to {LONGEST} "
            "letters (A-Z, a-z), digits, `.`, `_` and `-`, and begin with a letter or digit"
        )
    return given
