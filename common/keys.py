"""Keys and tickets: what a caller shows to prove a right."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from common.errors import Invalid, WrongTicket

#: Permission bits of those who are neither owner nor of the file's group.
_ANYONE = 0o007


def new_key() -> str:
    """A fresh bearer key: 43 characters, 256 bits."""
    return secrets.token_urlsafe(32)


def read_key(file: Path) -> str:
    """The key that the file holds.

    Raises Invalid where it cannot be read, holds no key, or every user of the machine can read it.
    """
    try:
        mode, text = file.stat().st_mode, file.read_text("ascii").strip()
    except OSError as error:
        raise Invalid(f"key file {file} cannot be read ({error.strerror}); pass another file") from None
    except UnicodeDecodeError:
        raise Invalid(
            f"key file {file} does not contain an ASCII key; ask the operator of the farm"
        ) from None
    if len(text.split()) != 1:
        raise Invalid(f"key file {file} must contain exactly one key; ask the operator of the farm")
    if mode & _ANYONE:
        raise Invalid(f"key file {file} is readable by every user of this machine; run `chmod 600 {file}`")
    return text


def kept_key(file: Path) -> str:
    """The key that the file holds; a fresh one where there is no such file.

    Raises Invalid as `read_key` does, OSError where no file can be made.
    """
    if not file.exists():
        write_private(file, new_key() + "\n")
    return read_key(file)


def write_private(file: Path, text: str) -> None:
    """Write `text` whole or not at all, readable by its owner only. Raises OSError."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    draft.replace(file)


def same_key(known: str, offered: str) -> bool:
    """Whether two keys are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(_digest(known), _digest(offered))


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to claim one batch for a node of this lane and class."""

    text: str
    lane: str
    #: GiB.
    vram_class: int


class TicketSigner:
    """Makes tickets and knows its own: `<random>.<lane>.<class>.<mac>` needs no storage to be checked.

    That a ticket is spent only once is the ledger's to hold.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def issue(self, lane: str, vram_class: int) -> Ticket:
        body = f"{secrets.token_hex(8)}.{lane}.{vram_class}"
        return Ticket(f"{body}.{self._mac(body)}", lane, vram_class)

    def check(self, text: str) -> Ticket:
        """The ticket that `text` is; raises WrongTicket where this signer did not issue it."""
        body, _, mac = text.rpartition(".")
        if not hmac.compare_digest(self._mac(body).encode(), mac.encode()):
            raise WrongTicket("this ticket was not issued by this farm; take the next one from the queue")
        _, _, rest = body.partition(".")
        lane, _, vram_class = rest.rpartition(".")
        return Ticket(text, lane, int(vram_class))

    def _mac(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), sha256).hexdigest()[:32]
