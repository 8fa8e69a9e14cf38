"""The gateway process: `python -m coordinator.gateway`. It needs the section `gateway` of the settings."""

from __future__ import annotations

import asyncio
import logging
import socket

from common.errors import Invalid, Unavailable
from common.settings import Settings, load_settings
from common.terminal import exit_on_error, log_to_stderr
from coordinator.gateway.app import GatewayApp
from coordinator.gateway.limits import CallLimits, Places
from coordinator.gateway.server import GatewayServer, open_many_files, tls_context
from coordinator.joining.files import JoinFiles

_BACKLOG = 1024


def run(settings: Settings, limits: CallLimits) -> None:
    """Until told to end by SIGINT or SIGTERM. Raises Invalid, or Unavailable where the address is taken."""
    gateway = settings.gateway
    if not gateway.listen:
        raise Invalid("no gateway is configured: set `gateway.listen` to the address that nodes reach")
    open_many_files()
    context = tls_context(settings)
    try:
        family = socket.AF_INET6 if ":" in gateway.listen else socket.AF_INET
        listener = socket.create_server((gateway.listen, gateway.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {gateway.listen}:{gateway.port} ({error.strerror}): "
            "set `gateway.listen` and `gateway.port` to a free address"
        ) from error
    farm, files = gateway.farm or settings.api_url, JoinFiles(settings)
    app = GatewayApp(farm, files, limits=limits, behind_proxy=context is None)
    asyncio.run(GatewayServer(app, listener, context, Places(limits)).serve())


def main() -> None:
    log_to_stderr(logging.INFO)
    with exit_on_error():
        run(load_settings(), CallLimits())


if __name__ == "__main__":
    main()
