"""How fast a node may transfer files: all of its uploads and downloads together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import httpx

#: Bytes that pass at once.
_CHUNK = 64 * 1024


class Bandwidth:
    """Lets `bytes_s` bytes a second pass. Safe for threads, which wait for their turn."""

    def __init__(
        self,
        bytes_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_s = bytes_s
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def take(self, size: int) -> None:
        """Return when so many bytes may pass."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock()) + size / self._bytes_s
            wait_s = self._free_at - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)

    def slow_upload(self, request: httpx.Request) -> None:
        """A hook of httpx for requests."""
        if isinstance(request.stream, httpx.SyncByteStream):
            request.stream = _Slowed(request.stream, self)

    def slow_download(self, response: httpx.Response) -> None:
        """A hook of httpx for responses."""
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Slowed(response.stream, self)


class _Slowed(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, bandwidth: Bandwidth) -> None:
        self._stream, self._bandwidth = stream, bandwidth

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            for start in range(0, len(data), _CHUNK):
                chunk = data[start : start + _CHUNK]
                self._bandwidth.take(len(chunk))
                yield chunk

    def close(self) -> None:
        self._stream.close()
