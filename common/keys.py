"""Keys and tickets: credentials of callers."""

from __future__ import annotations

import hmac
import os
import secrets
import string
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from common.errors import Invalid, WrongTicket

#: Permission bits of users other than the owner and the group of a file.
_ANYONE = 0o007
#: Begins every generated key, so that scanners for leaked secrets recognise it: `shotfarm_[A-Za-z0-9]{43}`.
KEY_PREFIX = "shotfarm_"
_ALPHABET = string.ascii_letters + string.digits
#: Characters of the alphabet that hold 256 random bits.
_KEY_CHARACTERS = 43
#: Hexadecimal digits of the digest that identify a key.
_ID_DIGITS = 12


def new_key() -> str:
    """Returns a new bearer key: the prefix and 43 characters, 256 random bits."""
    return KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_CHARACTERS))


def key_digest(key: str) -> str:
    """Returns the SHA-256 of a key, 64 hexadecimal digits: all that the ledger keeps of it.

    256 random bits need no slow hash.
    """
    return sha256(key.encode()).hexdigest()


def key_id(digest: str) -> str:
    """Returns what identifies a key in public: the first digits of its digest."""
    return digest[:_ID_DIGITS]


def read_key(file: Path) -> str:
    """Returns the key in the file.

    Raises Invalid if the file cannot be read, contains no key, or can be read by every user of the machine.
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
    if mode & _ANYONE and sys.platform != "win32":
        raise Invalid(f"key file {file} is readable by every user of this machine; run `chmod 600 {file}`")
    return text


def kept_key(file: Path) -> str:
    """Returns the key in the file; creates the file with a new key if it does not exist.

    Raises Invalid as `read_key` does, and OSError if the file cannot be created.
    """
    if not file.exists():
        write_private(file, new_key() + "\n")
    return read_key(file)


def write_private(file: Path, text: str) -> None:
    """Write `text` atomically to a file that only its owner can read. Raises OSError if that fails."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    draft.replace(file)


def lease_token(node: str) -> str:
    """Returns a new token for a batch that is leased to a node, `<node>:<random>`."""
    return f"{node}:{secrets.token_hex(16)}"


def token_holder(token: str) -> str | None:
    """Returns the node of a token; None if it names none, as those of earlier versions.

    >>> token_holder(lease_token("rack-1"))
    'rack-1'
    """
    node, colon, _ = token.rpartition(":")
    return node if colon else None


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to claim one batch for a node of this lane and class."""

    text: str
    lane: str
    #: GiB.
    vram_class: int


class TicketSigner:
    """Issues and verifies tickets `<random>.<lane>.<class>.<mac>`; needs no storage.

    The ledger ensures that a ticket is used only once.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def issue(self, lane: str, vram_class: int) -> Ticket:
        body = f"{secrets.token_hex(8)}.{lane}.{vram_class}"
        return Ticket(f"{body}.{self._mac(body)}", lane, vram_class)

    def check(self, text: str) -> Ticket:
        """Returns the parsed ticket. Raises WrongTicket if this signer did not issue it."""
        body, _, mac = text.rpartition(".")
        if not hmac.compare_digest(self._mac(body).encode(), mac.encode()):
            raise WrongTicket("this ticket was not issued by this farm; take the next one from the queue")
        _, _, rest = body.partition(".")
        lane, _, vram_class = rest.rpartition(".")
        return Ticket(text, lane, int(vram_class))

    def _mac(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), sha256).hexdigest()[:32]
