"""The person at the command line, as known by their login name."""

from __future__ import annotations

import re
from getpass import getuser

from common.proper_names import LONGEST

_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")


def login_name() -> str | None:
    """Returns the login name; None if the user has none, as in some containers."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):  # a user ID without a name; on Windows no USERNAME
        return None


def default_owner() -> str | None:
    """Returns the owner of jobs without `--owner`: the login name, with `-` for other characters.

    None if no character is left: the coordinator then decides.
    """
    name = _FOREIGN.sub("-", login_name() or "").lstrip("._-")
    return name[:LONGEST] or None
