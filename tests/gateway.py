"""A gateway in this process before a farm in this process, and a node that calls through it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from common.certificates import own_certificate, pin_of
from common.invitations import Invitation, read_invitation
from common.messages import Holdings, Join, Joined, Park, ParkAnswer
from common.settings import Gateway
from coordinator.gateway.app import GatewayApp
from coordinator.gateway.limits import CallLimits, Places
from coordinator.gateway.server import GatewayServer, tls_context
from coordinator.joining.files import JoinFiles
from gpu_node.agent.announced import Announced
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.credentials import Credentials, kept_identity
from tests.farm import DEADLINE_S, RunningFarm, card, running_farm


@dataclass(frozen=True, kw_only=True)
class RunningGateway:
    farm: RunningFarm
    port: int
    pin: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def invite(self, name: str) -> Invitation:
        with self.farm.client() as operator:
            issued = operator.post("/v1/invitations", json={"name": name, "owner": "ana"}).raise_for_status()
        return read_invitation(issued.json()["text"])


@contextmanager
def running_gateway(
    folder: Path,
    broker_url: str,
    limits: CallLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[RunningGateway]:
    limits = limits or CallLimits()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    gateway = Gateway(listen="127.0.0.1", port=port)
    with running_farm(folder, broker_url, gateway=gateway) as farm:
        app = GatewayApp(farm.url, JoinFiles(farm.settings), limits=limits, clock=clock)
        server = GatewayServer(app, listener, tls_context(farm.settings), Places(limits))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="gateway")
        thread.start()
        try:
            pin = pin_of(own_certificate(farm.settings.gateway_certificate))
            yield RunningGateway(farm=farm, port=port, pin=pin)
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


class FarNode:
    """Calls of a node that has an invitation and reaches nothing but the gateway."""

    def __init__(self, folder: Path, invitation: Invitation, name: str) -> None:
        home = folder / name
        home.mkdir(exist_ok=True)
        kept_identity(home, name, invitation.farm, invitation.pin)
        credentials = Credentials(home, invitation.farm, invitation.secret, pin=invitation.pin)
        self.farm = Coordinator(invitation.farm, credentials=credentials, pin=invitation.pin)
        announced = Announced(invitation.farm, is_gateway=bool(invitation.pin))
        announced.relay(lambda: self.farm.token)
        self.store: httpx.Client = open_store_client(announced, pin=invitation.pin)
        holdings = Holdings(models=("tiny", "tiny-24")).model_dump()
        self.message = Join(name=name, card=card(8), process=name, **holdings)

    def join(self) -> Joined:
        self.joined = self.farm.join(self.message)
        return self.joined

    def park(self, park: Park) -> ParkAnswer:
        return self.farm.park(self.joined.node_id, park)

    def close(self) -> None:
        self.store.close()
        self.farm.close()
