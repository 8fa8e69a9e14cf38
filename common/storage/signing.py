"""Signed URLs for a store without an S3 server: the coordinator's own HTTP layer honours them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from urllib.parse import quote

from itsdangerous import BadData, URLSafeSerializer

from common.errors import WrongUpload


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """What the holder of a signed URL may do; a GET says nothing of size, hash and type."""

    method: str
    key: str
    #: Seconds since 1970.
    expires_at: int
    size: int = 0
    #: Hex.
    sha256: str = ""
    content_type: str = ""


class UrlSigner:
    """Makes URLs below `base_url` and knows its own; whoever has `secret` can do so too."""

    def __init__(self, secret: str, base_url: str, now: Callable[[], float] = time.time) -> None:
        # The salt makes a key of its own: no other use of the secret yields a signature that counts here.
        self._serializer = URLSafeSerializer(
            secret,
            salt="signed object urls",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._base_url = base_url.rstrip("/")
        self._now = now

    def url(
        self,
        method: str,
        key: str,
        *,
        expires_s: int,
        size: int = 0,
        sha256: str = "",
        content_type: str = "",
    ) -> str:
        """A URL that permits just this, from now on for `expires_s` seconds."""
        permit = Permit(
            method=method,
            key=key,
            expires_at=int(self._now()) + expires_s,
            size=size,
            sha256=sha256,
            content_type=content_type,
        )
        signed = self._serializer.dumps(asdict(permit))
        return f"{self._base_url}/v1/objects/{quote(key)}?permit={signed}"

    def verify(self, method: str, key: str, query: Mapping[str, str]) -> Permit:
        """The permit that a URL of this signer carries; raises Forbidden for any other or an old one."""
        try:
            permit = Permit(**self._serializer.loads(query.get("permit", "")))
        except (BadData, UnicodeError):
            raise WrongUpload(f"{method} {key}: the URL has no valid signature of this farm") from None
        if (permit.method, permit.key) != (method, key):
            raise WrongUpload(f"{method} {key}: the URL is signed for {permit.method} {permit.key}")
        if self._now() >= permit.expires_at:
            raise WrongUpload(f"{method} {key}: the URL has expired; ask for a new one")
        return permit
