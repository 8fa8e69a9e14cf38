"""The HTTP server of this process, ended by a signal or by its owner."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: What open requests have to end when the server is told to.
_END_WITHIN_S = 2
#: Seconds for which an unused connection stays open; httpx keeps one for 5.
_KEEP_ALIVE_S = 15


#: Seconds for the head of a request from its first byte, or from the connection on; and without any byte of
#: its body.
HEAD_S, BODY_S = 20.0, 30.0


#: Bytes of the head of a request.
HEAD_BYTES = 64 * 2**10


class PatientProtocol(HttpToolsProtocol):
    """Closes connections whose callers begin a request and do not go on with it, or send an endless head."""

    _patience: asyncio.TimerHandle | None = None
    #: Bytes of a head that is not complete; None while there is none.
    _head: int | None = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self._wait(HEAD_S)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head = None
        self._wait(BODY_S)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._wait(BODY_S)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        """Close the connection in so many seconds, or not; replaces what was said before."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self.flow.read_paused:
            # The caller waits for us.
            self._wait(BODY_S)
        else:
            self.transport.close()


class WebServer(uvicorn.Server):
    """Answers with `app` until `should_exit` is set, as SIGINT and SIGTERM do in the main thread."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                http=PatientProtocol,
                proxy_headers=False,
                lifespan="off",
                # Longer than clients keep an unused connection: it must not be closed under a call.
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_END_WITHIN_S,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own it does not raise them again: what is left to do in order would be cut off."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
