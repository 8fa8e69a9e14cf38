"""Ed25519 keys: each node has one that never leaves its machine, and every invitation is one.

Whoever has such a key proves it by a signature of what the farm asks; neither key nor secret is ever sent.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Of secrets that are no keys by themselves.
_INVITATION = b"shotfarm invitation\n"


class NodeKey:
    """A private key, and its public one, which identifies it: 64 hexadecimal digits."""

    def __init__(self, seed: bytes) -> None:
        """`seed` is the private key, 32 bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw().hex()

    @classmethod
    def new(cls) -> Self:
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def of_secret(cls, secret: str) -> Self:
        """The key that is an invitation: `secret` is that of the invitation, or the node key of a farm."""
        return cls(sha256(_INVITATION + secret.encode()).digest())

    @property
    def seed(self) -> bytes:
        return self._key.private_bytes_raw()

    def sign(self, text: str) -> str:
        """The signature of a text, 128 hexadecimal digits."""
        return self._key.sign(text.encode()).hex()


def has_signed(public: str, text: str, signature: str) -> bool:
    """Whether the holder of the private key to `public` signed the text."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
            bytes.fromhex(signature), text.encode()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def access_text(challenge: str, node: str, public: str) -> str:
    """What a node, and its invitation, sign to get access as `node` with this public key."""
    return f"shotfarm access\n{challenge}\n{node}\n{public}"


def rotation_text(node: str, public: str) -> str:
    """What the next key of a node signs, so that nobody can be given a key that he does not have."""
    return f"shotfarm key\n{node}\n{public}"
