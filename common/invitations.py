"""Invitations as one line: address and key of the farm, name of the node where it is fixed, and a secret."""

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
    #: Of the key of its server (`common.certificates`); empty: whoever certificates say it is.
    pin: str = ""

    @property
    def text(self) -> str:
        """The line: base64url of farm, name and pin, a dot, the secret."""
        given = {"farm": self.farm, "name": self.name, "pin": self.pin}
        told = json.dumps({name: value for name, value in given.items() if value})
        return f"{urlsafe_b64encode(told.encode()).decode().rstrip('=')}.{self.secret}"


def read_invitation(text: str) -> Invitation:
    """Raises Invalid for what is no invitation."""
    told, _, secret = text.strip().partition(".")
    try:
        found = json.loads(urlsafe_b64decode(told + "=" * (-len(told) % 4)))
        farm, name, pin = found["farm"], found.get("name"), found.get("pin", "")
    except (ValueError, LookupError, TypeError, AttributeError):
        farm, name, pin = None, None, ""
    told_all = isinstance(farm, str) and isinstance(name, str | None) and isinstance(pin, str)
    # Without TLS nobody could check the pin.
    if not told_all or not secret.startswith(KEY_PREFIX) or (pin and not farm.startswith("https://")):
        raise Invalid(
            "this is no invitation: copy the whole line that `farm node invite` printed, without spaces"
        )
    return Invitation(farm, name, secret, pin)
