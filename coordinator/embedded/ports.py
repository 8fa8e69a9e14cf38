"""Free TCP ports, chosen once and kept, so that farms side by side on one machine never collide."""

from __future__ import annotations

import json
import os
import random
import socket
import tempfile
import time
from pathlib import Path

from common.keys import write_private

#: Below the range from which systems take ports for outgoing connections.
_RANGE = (11_000, 21_000)
#: For so long no other farm of this user is given a port that nothing listens on yet.
_RESERVED_S = 900.0
#: SeaweedFS' own parts look for a gRPC port this far above the HTTP port.
GRPC_OFFSET = 10_000


def kept_ports(file: Path, names: tuple[str, ...]) -> dict[str, int]:
    """A port for each name: the one `file` remembers where it is still free, else another, remembered.

    A name that ends in `+grpc` gets a port whose neighbour `GRPC_OFFSET` higher is free too.
    """
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    chosen: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        if port is None or not _usable(name, port):
            port = _another(name, taken=set(known.values()) | set(chosen.values()))
        chosen[name] = port
    if not chosen.items() <= known.items():
        write_private(file, json.dumps(known | chosen, indent=1))
    return chosen


def _another(name: str, taken: set[int]) -> int:
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(*_RANGE)
        if port not in taken and _usable(name, port) and _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Take `port` for this farm, unless another one took it and may not have got to listen on it."""
    folder = Path(tempfile.gettempdir()) / f"shotfarm-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    mark = folder / str(port)
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        if time.time() - mark.stat().st_mtime < _RESERVED_S:
            return False
        mark.touch()
    return True


def _usable(name: str, port: int) -> bool:
    return is_free(port) and (not name.endswith("+grpc") or is_free(port + GRPC_OFFSET))


def is_free(port: int, host: str = "") -> bool:
    """Whether this machine can listen on `port`; the empty host means every address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
