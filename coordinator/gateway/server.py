"""The listening side of the gateway: TLS, and a limit on connections that counts unfinished handshakes."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from starlette.types import ASGIApp

from common.certificates import own_certificate
from common.errors import Invalid
from common.settings import Settings
from coordinator.gateway.limits import Places, network_of
from coordinator.http.server import PatientProtocol, WebServer

log = logging.getLogger(__name__)

_HANDSHAKE_S: Final = 10.0
#: Bytes that are read of a connection at a time.
_READ: Final = 4 * 2**10
_GOODBYE_S: Final = 5.0
#: Seconds before the next connection is taken after the system had no room for one.
_REST_S: Final = 0.2


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What the gateway shows of itself; None for plain HTTP. Raises Invalid for files that are none."""
    gateway = settings.gateway
    if not gateway.tls:
        return None
    certificate = gateway.certificate or own_certificate(settings.gateway_certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Nodes keep their connections; tickets for another handshake only take memory.
    context.num_tickets = 0
    # asyncio reserves so much for each connection: 256 KiB, of which a node that waits needs nothing.
    SSLProtocol.max_size = _READ
    try:
        context.load_cert_chain(certificate, gateway.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"{certificate}: cannot be used as the certificate of the gateway ({error})") from None
    return context


class _Protocol(PatientProtocol):
    """Tells when it is over."""

    on_over: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.on_over()


class GatewayServer(WebServer):
    """Answers with `app` on a listening socket, until it is told to exit."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, context: ssl.SSLContext | None, places: Places
    ) -> None:
        super().__init__(app)
        self._listener, self._context, self._places = listener, context, places
        self._handshakes: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = []
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._accepting.cancel()
        for task in self._handshakes:
            task.cancel()
        self._listener.close()
        await super().shutdown(sockets)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError as error:
                log.warning("no connection can be taken (%s)", error)
                await asyncio.sleep(_REST_S)
                continue
            # Behind a proxy all connections are its own.
            network = network_of(address[0]) if self._context is not None else ""
            if not self._places.enter(network):
                connection.close()
                continue
            task = asyncio.create_task(self._open(connection, network))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _open(self, connection: socket.socket, network: str) -> None:
        """Hand a connection to the HTTP protocol once its handshake is done."""
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._places.leave(network)

        def protocol() -> _Protocol:
            made = _Protocol(self.config, self.server_state, self.lifespan.state)
            made.on_over = leave
            return made

        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {"ssl_handshake_timeout": _HANDSHAKE_S, "ssl_shutdown_timeout": _GOODBYE_S}
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(protocol, connection, ssl=self._context, **tls)
        except (OSError, asyncio.CancelledError):  # no handshake, or not in time
            connection.close()
            leave()


def open_many_files() -> None:
    """Let this process have as many connections as the system allows it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
