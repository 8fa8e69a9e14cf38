"""Where a node calls: the farm that its owner named, and the store and broker that this farm announced.

URLs for files come with each call of the farm. A hostile one could send the node to services on its network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx

from common.errors import Invalid
from common.messages import RELAY_PATH
from common.public_addresses import is_public

#: Headers of presigned PUTs: all that a store needs to know of an upload.
_HEADERS = frozenset({"content-type", "if-none-match", "x-amz-checksum-sha256"})


class ForeignAddress(httpx.RequestError):
    """A URL leads to another place than the farm announced."""


class Announced:
    """What the farm at a URL announced when the node last joined."""

    def __init__(self, farm: str) -> None:
        self._farm = httpx.URL(farm)
        self._store = self._farm
        #: Tells the access token of this node, if the farm relays.
        self._token: Callable[[], str] | None = None

    def relay(self, token: Callable[[], str]) -> None:
        """From now on let the farm call its store: it asks for the node's access `token`."""
        self._token = token

    def announce(self, store: str) -> None:
        """Use this store from now on. Raises Invalid for what is no web address."""
        url = httpx.URL(store)
        if url.scheme not in ("http", "https") or not url.host:
            raise Invalid(
                f"the farm announced the store {store!r}: its operator must set an http:// or https:// URL"
            )
        self._store, self._token = url, None

    def check(self, request: httpx.Request) -> None:
        """Before each call of the store. Raises ForeignAddress."""
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token()}"
            path = self._farm.raw_path.rstrip(b"/") + RELAY_PATH.encode() + request.url.raw_path
            request.url = self._farm.copy_with(raw_path=path)
            request.headers["Host"] = self._farm.netloc.decode()
            return
        place = _place(request.url)
        if place == _place(self._farm):
            return
        if place != _place(self._store):
            where = f"{request.url.scheme}://{request.url.netloc.decode()}"
            raise ForeignAddress(
                f"the farm sent this node to {where}, which it never announced", request=request
            )
        if _is_private(request.url.host) and not _is_private(self._farm.host):
            host = request.url.host
            raise ForeignAddress(
                f"the farm sent this node to {host}, which is in a private network, while the farm is not",
                request=request,
            )


def check_broker(url: str) -> None:
    """Raises Invalid for a broker that is no Redis: other transports read files or call other services."""
    if not url.startswith(("redis://", "rediss://")):
        scheme = url.partition(":")[0][:20]
        raise Invalid(
            f"the farm announced a broker by {scheme!r}: its operator must set a redis:// or rediss:// URL"
        )


def upload_headers(told: dict[str, str]) -> dict[str, str]:
    """Those of the headers that an upload may have."""
    return {name: value for name, value in told.items() if name.lower() in _HEADERS}


def _place(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _is_private(host: str) -> bool:
    """Whether a host is in a network of somebody's own; not if its name can only be looked up by a proxy."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return not all(is_public(str(address[0]).partition("%")[0]) for *_, address in found)
