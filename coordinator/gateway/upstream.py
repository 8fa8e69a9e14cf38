"""A small HTTP/1.1 client for a server of the farm, which carries bodies in both directions piece by piece.

Thousands of calls are held at once, each on a connection of its own: a client that manages its connections
in a list would look through all of them for each call.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import httptools

from common.errors import Unavailable

Header = tuple[bytes, bytes]

_CONNECT_S: Final = 5.0
#: Without a byte of a body, in either direction.
_SILENCE_S: Final = 60.0
_PIECE: Final = 64 * 2**10
#: Seconds for which an unused connection is kept: less than servers keep theirs.
_KEEP_S: Final = 4.0


class Connection:
    """One connection, for one call after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: bytes) -> None:
        self._reader, self._writer, self._host = reader, writer, host
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        #: Of the answer.
        self.status = 0
        self.headers: list[Header] = []
        self._answered = self._complete = False
        self._pieces: deque[bytes] = deque()

    async def send_head(self, method: str, target: bytes, headers: Iterable[Header]) -> None:
        """Begin a call; `target` is the path and query."""
        self._begin()
        lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"host: " + self._host]
        lines += [name + b": " + value for name, value in headers]
        await self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        self._writer.write(data)
        async with asyncio.timeout(_SILENCE_S):
            await self._writer.drain()

    async def head(self, within_s: float) -> None:
        """Wait for the head of the answer."""
        async with asyncio.timeout(within_s):
            while not self._answered:
                await self._read()

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the answer in pieces."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if self._complete:
                return
            async with asyncio.timeout(_SILENCE_S):
                await self._read()

    async def _read(self) -> None:
        data = await self._reader.read(_PIECE)
        if not data:
            raise ConnectionError("the connection was closed before the answer was complete")
        self._parser.feed_data(data)

    @property
    def is_reusable(self) -> bool:
        return self._complete and self._parser.should_keep_alive() and not self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status, self._answered = self._parser.get_status_code(), True

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._complete = True


class Upstream:
    """A server of the farm at a URL; `name` is what messages call it."""

    def __init__(self, url: str, name: str) -> None:
        parts = urlsplit(url)
        self._name = name
        self._tls = parts.scheme == "https"
        self._place = parts.hostname or "", parts.port or (443 if self._tls else 80)
        self._host = parts.netloc.encode()
        #: Unused connections, and since when; the last used is at the end.
        self._unused: list[tuple[float, Connection]] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Raises Unavailable where the server does not answer."""
        try:
            connection = self._kept() or await self._opened()
        except (OSError, TimeoutError) as error:
            raise self._silent(error) from None
        try:
            yield connection
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            raise self._silent(error) from None
        finally:
            if connection.is_reusable:
                self._unused.append((time.monotonic(), connection))
            else:
                connection.close()

    def _kept(self) -> Connection | None:
        """The connection that was used last; those that were not for a while are closed."""
        now = time.monotonic()
        if self._unused and now - self._unused[0][0] > _KEEP_S:
            late = [one for one in self._unused if now - one[0] > _KEEP_S]
            self._unused = self._unused[len(late) :]
            for _, connection in late:
                connection.close()
        return self._unused.pop()[1] if self._unused else None

    async def _opened(self) -> Connection:
        async with asyncio.timeout(_CONNECT_S):
            opened = await asyncio.open_connection(*self._place, ssl=self._tls or None, limit=_PIECE)
        return Connection(*opened, self._host)

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(f"the {self._name} does not answer ({str(error) or type(error).__name__})")
