"""The farm that faults are done to: its processes, its broker, its ledger, its store."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import psutil
import redis
import yaml
from botocore.config import Config
from sqlalchemy import URL, Engine, Executable, NullPool, create_engine, make_url, text

from common.failures import MAX_CRASHES
from common.settings import Settings, Timing
from coordinator.client import FarmClient
from coordinator.embedded.home import Home
from coordinator.embedded.process import Child
from coordinator.embedded.state import read_state
from tests.e2e.conftest import furnish
from tests.e2e.farmhouse import Farmhouse
from tests.faults.engines import model_of, with_engine
from tests.faults.proxied_store import ProxiedStore

NODES = (
    ("node-6", "gtx-1660s.yaml"),
    ("node-8a", "gtx-1070.yaml"),
    ("node-8b", "gtx-1070.yaml"),
    ("node-24", "rtx-4090.yaml"),
)
#: Ticket queues of those nodes.
QUEUES = ("render.public.vram06", "render.public.vram08", "render.public.vram24")
SCALE = 5
#: All durations of the farm at a fifth, so that minutes show what otherwise takes half an hour.
TIMING = Timing(**{name: seconds / SCALE for name, seconds in Timing().model_dump().items()})
#: Of farms whose engines load nothing.
QUICK_TIMING = TIMING.model_copy(update={"stall_load_s": 20.0})
#: Seconds after which a dead node's work waits again: 30 at full durations.
WAITS_AGAIN_S = 30 / SCALE
#: An answer slower than this is none: a coordinator that stalls so long keeps leases alive, as after a start.
_SLOW_S = 1.0
#: Entries that fill the buffers of the store, bytes of each, and the folders that spread them over them.
_FILLINGS, _FILLING, _FOLDERS = 6000, 20_000, 997


@dataclass(frozen=True, slots=True)
class Target:
    house: Farmhouse
    #: Where tests reach the store past its proxy; empty: as the farm does.
    s3_endpoint: str = ""
    #: Nodes that run elsewhere, by name.
    elsewhere: dict[str, Child] = field(default_factory=dict)

    @classmethod
    def furnished(
        cls,
        folder: Path,
        engine: str,
        *,
        timing: Timing = TIMING,
        store: ProxiedStore | None = None,
        **settings: object,
    ) -> Target:
        """A folder with settings for the nodes above and further ones; nothing runs yet.

        Its engines are of that kind of `ENGINES`. Without a store: a SeaweedFS of the farm's own.
        """
        furnish(folder, model_of(engine, folder), NODES)
        file = folder / "farm.yaml"
        changes = settings | {"timing": timing.model_dump()} | ({"storage": store.settings} if store else {})
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
        return cls(Farmhouse(folder, with_engine(engine)), store.server.endpoint if store else "")

    @property
    def home(self) -> Home:
        return Home(self.house.folder / ".farm")

    def settings(self) -> Settings:
        """Those in force now."""
        return self.house.settings()

    def client(self) -> FarmClient:
        return self.house.client()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, its own and those elsewhere."""
        return (*(node.name for node in self.settings().nodes), *self.elsewhere)

    def pid(self, part: str) -> int | None:
        """The process of a part, or of a node elsewhere; None while it does not run."""
        if (child := self.elsewhere.get(part)) is not None:
            return child.pid if child.exit_status is None else None
        state = read_state(self.home)
        parts = state.components if state else ()
        return next((one.pid for one in parts if one.name == part), None)

    def kill(self, part: str) -> bool:
        """`kill -9`; False when it did not run."""
        pid = self.pid(part)
        return pid is not None and send(pid, signal.SIGKILL)

    def engine(self, node: str) -> int | None:
        """The process of a node's engine: its only child."""
        pid = self.pid(node)
        with suppress(psutil.Error):
            for child in psutil.Process(pid).children() if pid else ():
                return int(child.pid)
        return None

    def tree(self) -> list[int]:
        """The supervisor and all below it."""
        state = read_state(self.home)
        if state is None or not psutil.pid_exists(state.pid):
            return []
        top = psutil.Process(state.pid)
        return [top.pid, *(child.pid for child in top.children(recursive=True))]

    def is_ready(self) -> bool:
        """Whether every part runs, and the coordinator answers."""
        state = read_state(self.home)
        if state is None or any(part.state != "ready" for part in state.components):
            return False
        # What was killed just now is not missed yet.
        return self.answers() and all(part.pid and psutil.pid_exists(part.pid) for part in state.components)

    def answers(self) -> bool:
        """Whether the coordinator leads and answers in time."""
        with suppress(httpx.HTTPError, OSError):
            return _asking().get(f"{self.settings().api_url}/healthz", timeout=_SLOW_S).is_success
        return False

    def gateway_answers(self) -> bool:
        """Whether the gateway shakes hands in time; calls would count as those of nodes at this address."""
        gateway = self.settings().gateway
        with suppress(OSError), create_connection((gateway.listen, gateway.port), _SLOW_S) as connection:
            _anybody().wrap_socket(connection).close()
            return True
        return False

    @contextmanager
    def broker(self) -> Iterator[redis.Redis]:
        url = self.settings().broker_url
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as broker:
            yield broker

    def rows(self, query: str | Executable, **values: object) -> list[dict[str, Any]]:
        """What the ledger holds, read beside the coordinator."""
        url = make_url(self.settings().database)
        driver = {"postgresql": "postgresql+psycopg"}.get(url.drivername, url.drivername)
        with _engine(url.set(drivername=driver)).connect() as ledger:
            found = ledger.execute(text(query) if isinstance(query, str) else query, values)
            return [dict(row) for row in found.mappings()]

    def may_kill(self, node: str) -> bool:
        """Whether the node holds no shot that would be called poison at one more death, rightly or not."""
        return not self.rows(
            "SELECT 1 FROM attempts JOIN shots ON shots.id = shot_id"
            " WHERE node_id = :node AND attempts.state = 'running' AND crashes >= :crashes",
            node=node,
            crashes=MAX_CRASHES - 1,
        )

    def store(self) -> tuple[Any, str]:
        """An S3 client of the tests' own, and the bucket."""
        storage = self.settings().storage
        client = _s3_client(
            self.s3_endpoint or storage.endpoint,
            storage.region,
            storage.access_key,
            storage.secret_key.get_secret_value(),
        )
        return client, urlsplit(storage.url).netloc

    def fill_store_buffers(self) -> None:
        """Let SeaweedFS hold all the memory that it will: 216 MB of buffers that its metadata fills.

        It takes them at its start, and the system gives them page by page as they are written for the first
        time, over 15,000 shots. Large entries beside the buckets do so in seconds.
        """
        port = json.loads(self.home.ports.read_text())["filer+grpc"]
        header = {"Seaweed-Filling": "x" * _FILLING}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as filer:
            for number in range(_FILLINGS):
                place = f"/filling/{number % _FOLDERS}/{number}"
                filer.put(place, content=b"x", headers=header).raise_for_status()

    def objects(self, prefix: str) -> dict[str, tuple[str, float]]:
        """Key to content tag and time of creation (seconds since 1970) of what the store holds."""
        client, bucket = self.store()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {
            item["Key"]: (item["ETag"], item["LastModified"].timestamp())
            for page in pages
            for item in page.get("Contents", ())
        }


@cache
def _engine(url: URL) -> Engine:
    return create_engine(url, poolclass=NullPool)


@cache
def _s3_client(endpoint: str | None, region: str, access_key: str, secret_key: str) -> Any:
    """Thread-safe. Made once, as that takes a tenth of a second."""
    # A session of its own, because threads cannot share one.
    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


@cache
def _asking() -> httpx.Client:
    """Made once, as that takes longer than a question; with a connection for each, as farms come and go."""
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


@cache
def _anybody() -> ssl.SSLContext:
    """Whose key a server shows is the business of nodes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process; False when it is gone."""
    try:
        psutil.Process(pid).send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
