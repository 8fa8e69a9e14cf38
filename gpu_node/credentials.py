"""Who a node is to its farm: an Ed25519 key, made at its first join, which never leaves this machine."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from common.access_messages import AccessRequest, InvitationProof, KeyRotation
from common.errors import Invalid, Unavailable
from common.keys import write_private
from common.node_keys import NodeKey, access_text, rotation_text
from gpu_node.system import is_private


class Identity(NamedTuple):
    """What the file `credentials/identity` in the home of a node has."""

    node: str
    #: URL of the farm that it joined.
    farm: str
    #: Private keys as hexadecimal digits; the next one while the farm is asked to take it.
    key: str
    next_key: str = ""
    #: Of the key of the farm's server; empty: whoever certificates say it is.
    pin: str = ""

    def is_for(self, farm: str, pin: str) -> bool:
        """Whether the key may be shown to the farm at a URL, whose server has the key with this pin.

        A farm could show the challenge of another one, and be that node there by the answer.
        """
        return _recognised(self.farm, self.pin) == _recognised(farm, pin)


def _recognised(farm: str, pin: str) -> object:
    """What a farm is known by: the key of its server, and without one its scheme, host and port."""
    if pin:
        return pin
    parts = urlsplit(farm)
    try:
        port = parts.port
    except ValueError:
        return farm
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def identity_folder(home: Path) -> Path:
    """What engines are kept from: a folder stays hidden when a file in it is replaced by another one."""
    return home / "credentials"


def identity_file(home: Path) -> Path:
    """Where the identity is; one in the place of earlier versions is moved."""
    file, earlier = identity_folder(home) / "identity", home / "identity"
    if earlier.is_file() and not file.exists():
        with suppress(OSError):
            file.parent.mkdir(mode=0o700, exist_ok=True)
            earlier.replace(file)
    return file


def read_identity(home: Path) -> Identity | None:
    """The identity in this home; None where no node has joined yet. Raises Invalid for a damaged one."""
    file = identity_file(home)
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        identity = Identity(**found)
        NodeKey(bytes.fromhex(identity.key))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Invalid(
            f"{file} cannot be read ({error}): run `farm-node leave`, and join by a new invitation"
        ) from None
    if not is_private(file):
        raise Invalid(f"{file} is readable by other users of this machine; run `chmod 600 {file}`")
    return identity


def write_identity(home: Path, identity: Identity) -> None:
    """Raises Unavailable."""
    file = identity_file(home)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, json.dumps(identity._asdict()) + "\n")
    except OSError as error:
        raise Unavailable(
            f"{file} cannot be written ({error.strerror}): make room, or choose a --home"
        ) from None


def kept_identity(home: Path, node: str, farm: str, pin: str = "", *, moved: bool = False) -> Identity:
    """That of the node in this home; a new one where there is none.

    `moved`: whether its owner says that the farm of this home is now the one at `farm`. Raises Invalid for
    the home of another node, or of a node of another farm.
    """
    known = read_identity(home)
    if known is not None and known.node != node:
        raise Invalid(
            f"{home} is the home of node {known.node}: use --name {known.node}, or another --home for {node}"
        )
    if known is not None and not moved and not known.is_for(farm, pin):
        raise Invalid(
            f"{home} is the home of a node of {known.farm}, whose key is for no other farm: choose another "
            f"--home or --name for {farm}, or pass --moved if it is the same farm, which has moved there"
        )
    identity = known or Identity(node, farm, NodeKey.new().seed.hex())
    if (identity.farm, identity.pin) != (farm, pin) or known is None:
        identity = identity._replace(farm=farm, pin=pin)
        write_identity(home, identity)
    return identity


class Credentials:
    """Answers challenges of the farm, by the key in the home of the node as it is then."""

    def __init__(self, home: Path, farm: str, secret: str = "", *, pin: str = "") -> None:
        """For the farm at this URL, whose server has the key with this pin.

        `secret` is that of an invitation, or the node key, for a farm that does not know the node yet.
        """
        self._home = home
        self._farm, self._pin = farm, pin
        self._invitation = NodeKey.of_secret(secret) if secret else None

    def answer(self, challenge: str) -> AccessRequest:
        """Proof to be the node. Raises Invalid where it has left the farm, or joined another."""
        identity = self._identity()
        key = NodeKey(bytes.fromhex(identity.key))
        text = access_text(challenge, identity.node, key.public)
        shown = self._invitation
        return AccessRequest(
            challenge=challenge,
            node=identity.node,
            public_key=key.public,
            signature=key.sign(text),
            invitation=shown and InvitationProof(public_key=shown.public, signature=shown.sign(text)),
        )

    def rotation(self) -> KeyRotation:
        """Make the next key, unless one is there already, and what the farm is asked with."""
        identity = self._identity()
        if not identity.next_key:
            identity = identity._replace(next_key=NodeKey.new().seed.hex())
            write_identity(self._home, identity)
        key = NodeKey(bytes.fromhex(identity.next_key))
        return KeyRotation(
            public_key=key.public, signature=key.sign(rotation_text(identity.node, key.public))
        )

    def rotated(self) -> bool:
        """Let the next key, which the farm has taken, be the key; False where there is none."""
        identity = self._identity()
        if not identity.next_key:
            return False
        write_identity(self._home, identity._replace(key=identity.next_key, next_key=""))
        return True

    def _identity(self) -> Identity:
        identity = read_identity(self._home)
        if identity is None:
            raise Invalid(f"no node has joined from {self._home}: start it with `farm-node run --invite`")
        if not identity.is_for(self._farm, self._pin):
            raise Invalid(
                f"the key in {self._home} is for {identity.farm}, not for {self._farm}: leave --farm out, "
                "or start the node with --farm and --moved if its farm has moved there"
            )
        return identity
