"""Where pictures live: one small interface, two first-class back ends (S3, a directory)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import Invalid

#: Bytes that are in memory at once of a file that goes into a store.
PART = 64 * 2**20
#: Prefix of model files; the rest of their keys is their SHA-256. Nothing removes them but an operator.
MODELS = "models/"
#: Prefix of embeddings; the rest of their keys is that of `common.embeddings`. They are deleted after a time.
EMBEDDINGS = "embeddings/"


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
    """Objects by key. `create` never overwrites: the first writer wins, everyone else hears so.

    Every method raises `Unavailable` while the store does not answer and `Misconfigured` when it refuses
    the farm. Keys are path-like: parts of letters, digits, `.`, `_` and `-` that do not start with a dot.
    """

    def create(self, key: str, data: bytes, *, content_type: str, metadata: dict[str, str]) -> bool:
        """Store `data`; False when the key exists already, whose object is left as it is."""

    def create_file(self, key: str, file: Path, *, sha256: str, content_type: str) -> bool:
        """Store a file of any size, a part at a time; False when the key exists already.

        Raises `Invalid` when the file has another hash than `sha256` (hex); nothing is stored then.
        """

    def read(self, key: str, *, limit: int) -> bytes:
        """The bytes; raises `NotFound`, or `Invalid` when there are more than `limit`."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer at the end of the object; raises `NotFound`."""

    def head(self, key: str) -> Stored | None:
        """What is known of the object; None when there is none."""

    def delete(self, key: str) -> None:
        """Forget the object; no error when there is none."""

    def keys(self, prefix: str, *, stored_before: float | None = None) -> list[str]:
        """All keys that begin with `prefix`, in order; of objects that were stored before that time.

        In seconds since 1970, by the clock of the store.
        """

    def sign_put(self, key: str, *, size: int, sha256: str, content_type: str, expires_s: int) -> SignedPut:
        """`sha256` in hex. The store refuses other bytes, another type or length, and a second PUT."""

    def sign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that reads the object, or a `Range` of it, until it expires."""

    def probe(self) -> None:
        """Make the bucket or folder where there is none; raise `Misconfigured` or `Unavailable` unless the
        store answers and refuses to overwrite.
        """


def refuses_overwriting(store: Store) -> bool:
    """Whether the second writer of a key hears so, tried with a key that nobody else has."""
    key = f"probe/{secrets.token_hex(16)}"
    first, second = (store.create(key, b"", content_type="text/plain", metadata={}) for _ in range(2))
    store.delete(key)
    return first and not second


def other_bytes(file: Path) -> Invalid:
    """A file that is not what it was when it was hashed."""
    return Invalid(
        f"{file} has changed while it was read (SHA-256 differs): leave it alone and repeat the call"
    )
