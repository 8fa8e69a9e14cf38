"""Uploads and downloads share what their owner allows."""

from __future__ import annotations

import httpx
import pytest

from gpu_node.agent.bandwidth import Bandwidth

BYTES = bytes(range(256)) * 1024


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Store(httpx.BaseTransport):
    """Answers an upload with its bytes."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        return httpx.Response(200, stream=httpx.ByteStream(b"".join(request.stream)))


def test_what_passes_takes_its_time_and_arrives_whole() -> None:
    time = Time()
    bandwidth = Bandwidth(len(BYTES) / 10, time, time.sleep)
    client = httpx.Client(transport=Store())
    client.event_hooks = {"request": [bandwidth.slow_upload], "response": [bandwidth.slow_download]}
    with client:
        assert client.put("http://store/a", content=BYTES).content == BYTES
        assert time.now == pytest.approx(20)
        with client.stream("GET", "http://store/a", content=BYTES) as answer:
            assert b"".join(answer.iter_bytes()) == BYTES
        assert time.now == pytest.approx(40)
        # A pause earns nothing.
        time.now = 1000
        client.put("http://store/a", content=BYTES)
    assert time.now == pytest.approx(1020)
