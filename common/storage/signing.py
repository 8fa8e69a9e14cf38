"""Signed URLs for a store without an S3 server: the coordinator's own HTTP layer honours them."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlencode

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
        # Of its own, so that no other use of the secret can yield a signature that counts here.
        self._key = hmac.digest(secret.encode(), b"signed object urls", "sha256")
        self._base_url = base_url.rstrip("/")
        self._now = now

    def permit(
        self,
        method: str,
        key: str,
        *,
        expires_s: int,
        size: int = 0,
        sha256: str = "",
        content_type: str = "",
    ) -> Permit:
        """A permit from now on for `expires_s` seconds."""
        return Permit(
            method=method,
            key=key,
            expires_at=int(self._now()) + expires_s,
            size=size,
            sha256=sha256,
            content_type=content_type,
        )

    def url(self, permit: Permit) -> str:
        query = {
            "expires": permit.expires_at,
            "size": permit.size,
            "sha256": permit.sha256,
            "type": permit.content_type,
            "signature": self._signature(permit),
        }
        return f"{self._base_url}/v1/objects/{quote(permit.key)}?{urlencode(query)}"

    def verify(self, method: str, key: str, query: Mapping[str, str]) -> Permit:
        """The permit that a URL of this signer carries; raises Forbidden for any other or an old one."""
        try:
            permit = Permit(
                method=method,
                key=key,
                expires_at=int(query["expires"]),
                size=int(query["size"]),
                sha256=query["sha256"],
                content_type=query["type"],
            )
            signature = query["signature"]
        except (KeyError, ValueError):
            raise WrongUpload(f"{method} {key}: the URL is not a signed one") from None
        if not hmac.compare_digest(self._signature(permit).encode(), signature.encode()):
            raise WrongUpload(f"{method} {key}: the signature of the URL is wrong")
        if self._now() >= permit.expires_at:
            raise WrongUpload(f"{method} {key}: the URL has expired; ask for a new one")
        return permit

    def _signature(self, permit: Permit) -> str:
        fields = (
            permit.method,
            permit.key,
            str(permit.expires_at),
            str(permit.size),
            permit.sha256,
            permit.content_type,
        )
        return hmac.new(self._key, "\n".join(fields).encode(), sha256).hexdigest()
