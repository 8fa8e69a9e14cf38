"""Invitations as one line: address and key of the farm, name of the node where it is fixed, and a secret."""

from __future__ import annotations

import json
import shlex
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from common.errors import Invalid
from common.keys import KEY_PREFIX

#: By which the script at `/join` and `farm-node run` are told an invitation.
INVITATION_VARIABLE = "FARM_INVITATION"
#: From base64url to base64.
_STANDARD = str.maketrans("-_", "+/")


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

    @property
    def shell_line(self) -> str:
        """What joins a machine with Linux to the farm; empty where its script could be forged.

        The script arrives as a whole or not at all, and questions are asked in the terminal. The secret is
        in a variable, because other users of the machine see arguments.
        """
        if not self.farm.startswith("https://"):
            return ""
        fetched = shlex.join(["curl", *curl_options(self.pin), f"{self.farm}/join"])
        return f'{INVITATION_VARIABLE}={self.text} sh -c "$({fetched} || echo exit 1)" join'

    @property
    def powershell_line(self) -> str:
        """The same for Windows."""
        if not self.farm.startswith("https://"):
            return ""
        words = (*curl_options(self.pin), f"{self.farm}/join.ps1")
        fetched = " ".join(("curl.exe", *map(powershell_word, words)))
        return (
            f"$env:{INVITATION_VARIABLE}='{self.text}'; $script=({fetched}) -join \"`n\"; "
            "if ($LASTEXITCODE -eq 0) { iex $script }"
        )


def curl_options(pin: str) -> tuple[str, ...]:
    """Options of curl that fetch from the server with this pin and no other, or by usual certificates."""
    if not pin:
        return ("-fsS",)
    return ("-fsSk", "--pinnedpubkey", f"sha256//{pin.translate(_STANDARD)}=")


def powershell_word(text: str) -> str:
    """A word as it is, for PowerShell."""
    return "'" + text.replace("'", "''") + "'"


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
