"""Where a node calls: the farm that its owner named, and the store and broker that this farm announced.

URLs come with calls of the farm. A hostile one could send the node to services on its network.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import httpx

from common.errors import Invalid
from common.messages import RELAY_PATH
from common.public_addresses import is_public

#: Headers of presigned PUTs: all that a store needs to know of an upload.
_HEADERS = frozenset({"content-type", "if-none-match", "x-amz-checksum-sha256"})


#: The one form of a broker's URL: Celery also takes several behind `;`, other transports, and options that
#: name another host or files of this machine.
_BROKER = re.compile(
    r"rediss?://(?:[^\s:@/;?#\[\]]*:[^\s:@/;?#\[\]]*@)?(?P<host>[\w.-]+|\[[\da-fA-F:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?:/\d*)?(?:\?ssl_cert_reqs=\w+)?",
    re.ASCII,
)
_LAST_PORT = 65_535


class ForeignAddress(httpx.RequestError):
    """A URL leads to another place than the farm announced."""


class Announced:
    """What the farm at a URL announced when the node last joined."""

    def __init__(self, farm: str, *, is_gateway: bool = False) -> None:
        """`is_gateway`: the farm is a gateway, and known by its key."""
        self._farm = httpx.URL(farm)
        self._is_gateway = is_gateway
        self._store = self._farm
        #: Tells the access token of this node, if the farm relays.
        self._token: Callable[[], str] | None = None

    @property
    def farm_host(self) -> str:
        """As handshakes name it."""
        return self._farm.raw_host.decode()

    def hear(self, store: str, token: Callable[[], str]) -> None:
        """Go by what the farm tells of its store; empty: it relays calls, by the node's access `token`.

        Raises Invalid as `announce` does.
        """
        if store:
            self.announce(store)
        else:
            self.relay(token)

    def relay(self, token: Callable[[], str]) -> None:
        """From now on let the farm call its store: it asks for the node's access `token`."""
        self._token = token

    def announce(self, store: str) -> None:
        """Use this store from now on.

        Raises Invalid for what is no web address, and for one that no gateway sends its nodes to.
        """
        url = httpx.URL(store)
        if url.scheme not in ("http", "https") or not url.host:
            raise Invalid(
                f"the farm announced the store {store!r}: its operator must set an http:// or https:// URL"
            )
        if self._is_gateway and (url.scheme != "https" or self._is_outside(url.host)):
            raise Invalid(
                f"the gateway announced the store {store!r}: its operator must set `relay: true`, or give "
                "the store a public https:// address"
            )
        self._store, self._token = url, None

    def check_broker(self, url: str) -> None:
        """Raises Invalid unless a broker is a single Redis, to which this farm may send a node."""
        if self._is_gateway:
            raise Invalid("the gateway announced a broker, but its nodes take no tickets: leave this farm")
        broker = _BROKER.fullmatch(url)
        if broker is None or int(broker["port"] or 0) > _LAST_PORT:
            raise Invalid(
                f"the farm announced a broker by {url.partition(':')[0][:20]!r} that is not one Redis: its "
                "operator must set `public_broker_url` to redis://HOST:PORT/0, or the same with rediss://"
            )
        host = broker["host"].strip("[]")
        if self._is_outside(host):
            raise Invalid(
                f"the farm announced the broker {host}, which is in a private network, while the farm is "
                "not: its operator must set `public_broker_url` to a public address, or use a gateway"
            )

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
        if self._is_outside(request.url.host):
            host = request.url.host
            raise ForeignAddress(
                f"the farm sent this node to {host}, which is in a private network, while the farm is not",
                request=request,
            )

    def _is_outside(self, host: str) -> bool:
        """Whether a host is in a private network into which this farm may send no node."""
        return _is_private(host) and (self._is_gateway or not _is_private(self._farm.host))


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
