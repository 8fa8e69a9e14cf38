"""A kept HTTP/1.1 connection, for processes that hold thousands: httpx goes through its pool at each call."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        """The body of a success; AssertionError with what the server said otherwise."""
        assert self.status < 300, (self.status, self.body)
        return json.loads(self.body)


class HttpConnection:
    """One call at a time. It opens with the first call, and again after it was closed."""

    def __init__(self, url: str, key: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._place = parts.hostname, parts.port
        self._head = (
            f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        )
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Answer:
        return await self._call("GET", path, b"")

    async def post(self, path: str, message: Mapping[str, Any]) -> Answer:
        return await self._call("POST", path, json.dumps(message).encode())

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _call(self, method: str, path: str, body: bytes) -> Answer:
        """Once more where a kept connection turns out to be closed: every call of the API may be repeated."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        kept = self._streams is not None
        try:
            return await self._exchange(head.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not kept:
                raise
            return await self._exchange(head.encode() + body)

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place, ssl=self._tls)
        reader, writer = self._streams
        try:
            writer.write(request)
            status, headers = _parsed(await reader.readuntil(b"\r\n\r\n"))
            answer = Answer(status, await reader.readexactly(int(headers["content-length"])))
        except BaseException:
            self.close()  # what is still to come belongs to this call
            raise
        if headers.get("connection") == "close":
            self.close()
        return answer


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode().strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers
