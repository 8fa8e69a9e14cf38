"""One address for several coordinators, as a Service of Kubernetes is: a connection goes to the ready one."""

from __future__ import annotations

import asyncio
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx

_HOST = "127.0.0.1"
_ASK_S = 2.0
_CHUNK = 64 * 1024


@contextmanager
def one_address(port: int, behind: Sequence[int]) -> Iterator[None]:
    """Carry each connection to `port` to the first port of `behind` that says it is healthy."""
    loop = asyncio.new_event_loop()
    serving = threading.Thread(target=loop.run_forever, name="one-address")
    serving.start()

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            target = await _ready(behind)
            if target is not None:
                far_reader, far_writer = await asyncio.open_connection(_HOST, target)
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        writer.close()

    async def end(server: asyncio.Server) -> None:
        server.close()
        carrying = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    try:
        starting = asyncio.start_server(carry, _HOST, port)
        server = asyncio.run_coroutine_threadsafe(starting, loop).result()
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(end(server), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        serving.join()
        loop.close()


async def _ready(ports: Sequence[int]) -> int | None:
    async with httpx.AsyncClient(timeout=_ASK_S, trust_env=False) as client:
        for port in ports:
            with suppress(httpx.HTTPError):
                if (await client.get(f"http://{_HOST}:{port}/healthz")).is_success:
                    return port
    return None


async def _pump(source: StreamReader, sink: StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()
