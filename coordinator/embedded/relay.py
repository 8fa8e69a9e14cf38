"""Carry one TCP port of this machine to another address, as the embedded S3 needs for a second machine.

`python -m coordinator.embedded.relay HOST:PORT TARGET_HOST:TARGET_PORT`
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

_CHUNK = 64 * 1024
#: Seconds in which no byte goes either way, after which a connection ends; and connections at a time.
IDLE_S, MOST = 120.0, 1024


async def relay(
    listen: tuple[str, int], target: tuple[str, int], *, idle_s: float = IDLE_S, most: int = MOST
) -> None:
    """Serve until cancelled."""
    held = 0

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal held
        held += 1
        try:
            if held <= most:
                await _carry(reader, writer, target, idle_s)
        except OSError:  # also TimeoutError: nobody says anything
            pass
        finally:
            held -= 1
            writer.close()

    server = await asyncio.start_server(carry, *listen)
    async with server:
        await server.serve_forever()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int], idle_s: float
) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(idle_s) as patience:
        far_reader, far_writer = await asyncio.open_connection(*target)

        def moved() -> None:
            patience.reschedule(loop.time() + idle_s)

        try:
            await asyncio.gather(_pump(reader, far_writer, moved), _pump(far_reader, writer, moved))
        finally:
            far_writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
            moved()
    sink.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(_address(sys.argv[1]), _address(sys.argv[2])))
