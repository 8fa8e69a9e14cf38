"""Uploads as nodes make them: by a signed URL."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import httpx

from common.storage import SignedPut, Store

PNG = "image/png"


@dataclass
class Upload:
    """A signed PUT of `data`, and what is actually sent."""

    store: Store
    key: str
    data: bytes = b"a picture"
    expires_s: int = 60
    headers: dict[str, str] = field(default_factory=dict)

    def signed(self) -> SignedPut:
        return self.store.sign_put(
            self.key,
            size=len(self.data),
            sha256=hashlib.sha256(self.data).hexdigest(),
            content_type=PNG,
            expires_s=self.expires_s,
        )

    def send(self, data: bytes | None = None) -> int:
        """The HTTP status."""
        put = self.signed()
        body = self.data if data is None else data
        return httpx.put(put.url, content=body, headers=put.headers | self.headers).status_code
