"""The store that the settings name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from common.errors import Misconfigured
from common.settings import Settings
from common.storage import Store
from common.storage.directory import DirectoryStore
from common.storage.s3 import S3Store
from common.storage.signing import UrlSigner


def open_store(settings: Settings) -> Store:
    """The store at `storage.url`; touches nothing yet. Raises Misconfigured for a URL of another kind."""
    storage = settings.storage
    if storage.url.startswith("file:"):
        signer = UrlSigner(settings.keys.ticket.get_secret_value(), settings.api_url)
        return DirectoryStore(Path(storage.url.removeprefix("file:")), signer)
    url = urlsplit(storage.url)
    if url.scheme == "s3" and url.netloc and not url.path.strip("/"):
        return S3Store(
            url.netloc,
            endpoint=storage.endpoint,
            public_endpoint=storage.public_endpoint,
            region=storage.region,
            access_key=storage.access_key,
            secret_key=storage.secret_key.get_secret_value(),
        )
    raise Misconfigured(f"storage.url is {storage.url!r}; it must be `s3://BUCKET` or `file:FOLDER`")
