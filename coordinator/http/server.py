"""The HTTP server of this process, ended by a signal or by its owner."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: What open requests have to end when the server is told to.
_END_WITHIN_S = 2
#: Seconds for which an unused connection stays open; httpx keeps one for 5.
_KEEP_ALIVE_S = 15


class WebServer(uvicorn.Server):
    """Answers with `app` until `should_exit` is set, as SIGINT and SIGTERM do in the main thread."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                http="httptools",
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
