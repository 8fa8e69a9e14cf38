"""Carry one TCP port of this machine to another address, as the embedded S3 needs for a second machine.

`python -m coordinator.embedded.relay HOST:PORT TARGET_HOST:TARGET_PORT`
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

_CHUNK = 64 * 1024


async def relay(listen: tuple[str, int], target: tuple[str, int]) -> None:
    """Serve until cancelled."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    server = await asyncio.start_server(carry, *listen)
    async with server:
        await server.serve_forever()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    sink.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(_address(sys.argv[1]), _address(sys.argv[2])))
