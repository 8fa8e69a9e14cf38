"""The relay of a farm's store: it carries bytes, and holds no connection on which none come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from coordinator.embedded.relay import relay

_HOST = "127.0.0.1"
_Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def relayed(*, idle_s: float, most: int = 2) -> AsyncIterator[Callable[[], Awaitable[_Opened]]]:
    """What opens connections through a relay to a server that returns what it hears."""
    with socket.create_server((_HOST, 0)) as free:
        port = free.getsockname()[1]
    server = await asyncio.start_server(echo, _HOST, 0)
    target = server.sockets[0].getsockname()
    serving = asyncio.create_task(relay((_HOST, port), target, idle_s=idle_s, most=most))

    writers = []

    async def opened() -> _Opened:
        while True:
            try:
                reader, writer = await asyncio.open_connection(_HOST, port)
            except ConnectionRefusedError:  # it does not listen yet
                await asyncio.sleep(0)
            else:
                writers.append(writer)
                return reader, writer

    async with server:
        yield opened
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        # Both ends see that the connections are over.
        await asyncio.gather(*asyncio.all_tasks().difference({serving, asyncio.current_task()}))
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def said(connection: _Opened) -> bytes:
    reader, writer = connection
    writer.write(b"word")
    return await reader.read(100)


def test_a_connection_on_which_nothing_comes_is_ended() -> None:
    async def story() -> None:
        async with relayed(idle_s=0.1) as opened:
            silent, begun = await opened(), await opened()
            assert await said(begun) == b"word"
            assert [await reader.read(100) for reader, _ in (silent, begun)] == [b"", b""]

    asyncio.run(story())


def test_a_connection_lasts_as_long_as_something_comes() -> None:
    async def story() -> None:
        async with relayed(idle_s=1.0) as opened:
            connection = await opened()
            for _ in range(6):
                assert await said(connection) == b"word"
                await asyncio.sleep(0.2)

    asyncio.run(story())


def test_one_connection_too_many_is_ended_and_the_others_go_on() -> None:
    async def story() -> None:
        async with relayed(idle_s=60.0) as opened:
            held = [await opened(), await opened()]
            assert [await said(one) for one in held] == [b"word", b"word"]
            reader, _ = await opened()
            assert await reader.read(100) == b""
            assert [await said(one) for one in held] == [b"word", b"word"]

    asyncio.run(story())
