"""Free TCP ports, chosen once and kept, so that farms side by side on one machine never collide."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from common.keys import write_private

#: Below the range from which systems take ports for outgoing connections.
_RANGE = (11_000, 21_000)
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
    # Drawn at random: two farms that start at the same moment would both find the same first free port.
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(*_RANGE)
        if port not in taken and _usable(name, port):
            return port


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
