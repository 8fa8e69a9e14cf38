"""Where an embedded farm listens, and what others are told of it."""

from __future__ import annotations

import socket

from common.errors import Invalid
from common.settings import Settings

LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"


def advertised_address(listen: str, given_as: str = "--listen") -> str:
    """The address other machines reach `listen` at: itself, or for 0.0.0.0 the one of the default route.

    Raises Invalid for an address that this machine does not have.
    """
    if listen == ANY:
        return _default_route()
    if not listen or not _is_ours(listen):
        raise Invalid(
            f"{given_as} {listen or '(empty)'}: not an address of this machine; use one that is, or {ANY}"
        )
    return listen


def local_url(settings: Settings) -> str:
    """The API as this machine reaches it, whatever stands before it for others."""
    host = LOOPBACK if settings.listen == ANY else settings.listen
    return f"http://{host}:{settings.port}"


def _is_ours(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _default_route() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; only asks the routing table. The address is one of those kept for examples.
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return LOOPBACK
        address: str = probe.getsockname()[0]
        return address
