"""Invitations as one line: the address of the farm, the name of the node where it is fixed, and a secret."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from common.errors import Invalid
from common.keys import KEY_PREFIX


class Invitation(NamedTuple):
    """What a machine needs to join a farm."""

    #: URL of the farm.
    farm: str
    #: Name of the node; None: its owner chooses.
    name: str | None
    secret: str

    @property
    def text(self) -> str:
        """The line: base64url of farm and name, a dot, the secret."""
        told = json.dumps({"farm": self.farm} | ({"name": self.name} if self.name else {}))
        return f"{urlsafe_b64encode(told.encode()).decode().rstrip('=')}.{self.secret}"


def read_invitation(text: str) -> Invitation:
    """Raises Invalid for what is no invitation."""
    told, _, secret = text.strip().partition(".")
    try:
        found = json.loads(urlsafe_b64decode(told + "=" * (-len(told) % 4)))
        farm, name = found["farm"], found.get("name")
    except (ValueError, LookupError, TypeError, AttributeError):
        farm, name = None, None
    if not (isinstance(farm, str) and isinstance(name, str | None) and secret.startswith(KEY_PREFIX)):
        raise Invalid(
            "this is no invitation: copy the whole line that `farm node invite` printed, without spaces"
        )
    return Invitation(farm, name, secret)
