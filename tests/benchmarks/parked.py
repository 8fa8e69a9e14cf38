"""Nodes that wait for work at the gateway: what they cost it, and the coordinator behind it."""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from common.access_messages import Access, Challenge
from common.messages import GATEWAY_HEADER, Heartbeat, Join, Park
from common.settings import Settings
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Child, Component
from coordinator.embedded.ready import is_listening
from coordinator.gateway.server import open_many_files
from tests.benchmarks.figures import Figure
from tests.benchmarks.fleet import Coordinator, coordinator_process
from tests.farm import card, key_of, proof
from tests.http_connection import HttpConnection
from tests.programs import own_environment
from tests.waiting import until

NODES = 2000
#: Two rounds of calls.
SECONDS = 90.0
MOST_MB, MOST_CORES = 200.0, 0.1
#: Nodes that join at once, and connections that are opened at once.
_JOINING, _OPENING = 8, 50


def measure() -> Iterator[Figure]:
    open_many_files()
    with (
        tempfile.TemporaryDirectory() as folder,
        coordinator_process(Path(folder)) as coordinator,
        _gateway(Path(folder), coordinator.settings) as gateway,
    ):
        tokens = _join(coordinator.settings)
        yield from asyncio.run(_figures(coordinator, gateway, tokens))


async def _figures(
    coordinator: Coordinator, gateway: tuple[psutil.Process, str], tokens: dict[str, str]
) -> list[Figure]:
    process, url = gateway
    empty = process.memory_info().rss
    opening = asyncio.Semaphore(_OPENING)
    nodes = [asyncio.create_task(_park(url, name, token, opening)) for name, token in tokens.items()]
    await _until_all_are_parked(coordinator.settings)
    used, theirs, begin = _cpu_s(process), coordinator.cpu_s(), time.monotonic()
    await asyncio.sleep(SECONDS)
    lasted = time.monotonic() - begin
    cores, behind = (_cpu_s(process) - used) / lasted, (coordinator.cpu_s() - theirs) / lasted
    memory = process.memory_info().rss / 1e6
    assert not any(node.done() for node in nodes), "all of them wait to the end"
    for node in nodes:
        node.cancel()
    await asyncio.gather(*nodes, return_exceptions=True)
    parked = f"{NODES:,} parked nodes"
    each = (memory - empty / 1e6) / NODES * 1000
    return [
        Figure(name=f"{parked}: gateway", value=memory, unit="MB", at_most=MOST_MB),
        Figure(name=f"{parked}: each of them", value=each, unit="kB"),
        Figure(name=f"{parked}: gateway", value=cores, unit="cores", at_most=MOST_CORES),
        Figure(name=f"{parked}: coordinator", value=behind, unit="cores"),
    ]


async def _park(url: str, name: str, token: str, opening: asyncio.Semaphore) -> None:
    """Wait for work again and again, as a node does."""
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    judge.check_hostname, judge.verify_mode = False, ssl.CERT_NONE
    connection = HttpConnection(url, token, judge)
    park = Park(beat=Heartbeat(incarnation=1), turn="0" * 32).model_dump(mode="json")
    async with opening:
        # Opens it; nodes do not come all at once.
        (await connection.get("/v1/addresses")).json()
    while True:
        (await connection.post(f"/v1/nodes/{name}/park", park)).json()


async def _until_all_are_parked(settings: Settings) -> None:
    async with httpx.AsyncClient(headers={"authorization": "Bearer operator-key"}, timeout=60) as operator:
        while True:
            nodes = (await operator.get(f"{settings.api_url}/v1/nodes")).json()
            if sum(node["parked"] for node in nodes) == NODES:
                return
            await asyncio.sleep(1)


def _join(settings: Settings) -> dict[str, str]:
    """The access tokens of nodes that joined without tickets, by name."""
    with httpx.Client(base_url=settings.api_url, timeout=60, trust_env=False) as http:

        def join(name: str) -> str:
            challenge = Challenge.model_validate_json(http.post("/v1/access/challenges").content).challenge
            asked = http.post("/v1/access", json=proof(challenge, name, key_of(name)).model_dump())
            token = Access.model_validate_json(asked.content).token
            message = Join(name=name, card=card(8), models=("tiny",)).model_dump(mode="json")
            headers = {"authorization": f"Bearer {token}", GATEWAY_HEADER: "1"}
            http.post("/v1/nodes", json=message, headers=headers).raise_for_status()
            return token

        names = [f"parked-{number}" for number in range(NODES)]
        with ThreadPoolExecutor(_JOINING) as threads:
            return dict(zip(names, threads.map(join, names), strict=True))


@contextmanager
def _gateway(folder: Path, settings: Settings) -> Iterator[tuple[psutil.Process, str]]:
    """The process of a gateway, and its URL."""
    port = kept_ports(folder / "ports", ("gateway",))["gateway"]
    told = {"HOME": str(folder), "GATEWAY__LISTEN": "127.0.0.1", "GATEWAY__PORT": str(port)}
    told["GATEWAY__FARM"] = settings.api_url
    own = own_environment() | {f"FARM_{name}": value for name, value in told.items()}
    own["PYTHONPATH"] = str(Path.cwd())
    (folder / "gateway").mkdir()
    component = Component(name="gateway", command=(sys.executable, "-m", "tests.benchmarks.gateway_process"))
    child = Child(component, folder / "gateway.log", folder / "gateway", own)
    child.start()
    try:
        until(lambda: is_listening("127.0.0.1", port), evidence=child.log.read_text)
        assert child.pid is not None
        yield psutil.Process(child.pid), f"https://127.0.0.1:{port}"
    finally:
        child.ask_to_stop()
        child.wait(10)


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)
