"""Where pictures live: one small interface, two first-class back ends (S3, a directory)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What a store knows of one object."""

    key: str
    #: Bytes.
    size: int
    content_type: str
    metadata: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedPut:
    """A right to upload exactly these bytes to exactly this key until it expires."""

    url: str
    headers: dict[str, str]


class Store(Protocol):
    """Objects by key. `create` never overwrites: the first writer wins, everyone else hears so."""

    def create(self, key: str, data: bytes, *, content_type: str, metadata: dict[str, str]) -> bool:
        """Store `data`; False when the key exists already, whose object is left as it is."""

    def read(self, key: str, *, limit: int) -> bytes:
        """The bytes; raises `NotFound`, or `Invalid` when there are more than `limit`."""

    def head(self, key: str) -> Stored | None: ...

    def delete(self, key: str) -> None:
        """Forget the object; no error when there is none."""

    def keys(self, prefix: str) -> list[str]: ...

    def sign_put(self, key: str, *, size: int, sha256: str, content_type: str, expires_s: int) -> SignedPut:
        """`sha256` in hex. The store refuses other bytes, another type or length, and a second PUT."""

    def sign_get(self, key: str, *, expires_s: int) -> str: ...

    def probe(self) -> None:
        """Raise `Misconfigured`/`Unavailable` unless the store answers and refuses to overwrite."""
