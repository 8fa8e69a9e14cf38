"""An S3 beside a farm, which reaches it through a proxy that misbehaves on order; tests go past it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.s3_proxy import S3Proxy, running_proxy
from tests.servers import S3Server, running_s3


@dataclass(frozen=True, slots=True)
class ProxiedStore:
    server: S3Server
    proxy: S3Proxy
    #: From and to when it ailed, seconds since 1970.
    ailed: list[tuple[float, float]] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """The farm's, under `storage`."""
        return {
            "url": f"s3://{self.server.bucket}",
            "endpoint": self.proxy.url,
            "access_key": self.server.access_key,
            "secret_key": self.server.secret_key,
        }

    @property
    def is_well(self) -> bool:
        """Whether it runs and the proxy passes all on."""
        server = self.server.child
        runs = server.exit_status is None and psutil.Process(server.pid).status() != psutil.STATUS_STOPPED
        return runs and not self.proxy.troubles

    @contextmanager
    def ailing(self, ailment: AbstractContextManager[object]) -> Iterator[None]:
        """Remember that it ailed as long as the block lasts."""
        began = time.time()
        with ailment:
            yield
        self.ailed.append((began, time.time()))

    @contextmanager
    def killed(self) -> Iterator[None]:
        """With -9; started again when the block ends."""
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """By SIGSTOP, until the block ends."""
        process = psutil.Process(self.server.child.pid)
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


@contextmanager
def proxied_store(folder: Path) -> Iterator[ProxiedStore]:
    with running_s3(folder) as server, running_proxy(server.endpoint) as proxy:
        yield ProxiedStore(server, proxy)
