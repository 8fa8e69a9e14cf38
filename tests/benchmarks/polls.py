"""Status polls of a farm that renders: how many a second, how soon, and beside an empty FastAPI handler."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from fastapi import FastAPI

from coordinator.http.server import WebServer
from tests.benchmarks.farm_of_one import farm_of_one
from tests.benchmarks.figures import Figure
from tests.e2e.conftest import many_passes
from tests.http_connection import HttpConnection

#: Callers that each send the next poll when the last one is answered, and those that send at fixed times.
CALLERS = 16
POLLS_A_SECOND = 300
SECONDS = 15.0
_IMAGES = 400


@dataclass(frozen=True)
class Polled:
    polls: int
    seconds: float
    #: Of each poll.
    waited_s: list[float]

    @property
    def per_second(self) -> float:
        return self.polls / self.seconds

    def percentile_ms(self, percent: int) -> float:
        return 1000 * quantiles(self.waited_s, n=100)[percent - 1]


def measure() -> Iterator[Figure]:
    with empty_server() as url:
        empty = asyncio.run(as_many_as_possible(url, "none", "/"))
    yield Figure(name="an empty FastAPI handler", value=empty.per_second, unit="polls/s")
    with tempfile.TemporaryDirectory() as folder, farm_of_one(Path(folder)) as house:
        settings = house.settings()
        assert settings.keys.operator is not None
        key = settings.keys.operator.get_secret_value()
        manifest = Path(folder) / "many.yaml"
        manifest.write_text(many_passes("poll", _IMAGES).replace("tiny", "shotfarm-demo"))
        job = house.json("submit", "many.yaml", "--yes")["id"]
        with house.client() as client:
            house.wait_for(lambda: client.job(job), lambda view: view.counts.get("done", 0) > 0)
            for what, path in (("job", f"/v1/jobs/{job}"), ("page of jobs", "/v1/jobs?limit=20")):
                most = asyncio.run(as_many_as_possible(settings.public_url, key, path))
                yield Figure(
                    name=f"polls of a {what}", value=most.per_second, unit="polls/s", at_least=POLLS_A_SECOND
                )
                share = empty.per_second / most.per_second
                yield Figure(name=f"an empty handler / polls of a {what}", value=share, unit="times")
                paced = asyncio.run(at_fixed_times(settings.public_url, key, path))
                name = f"polls of a {what}, {POLLS_A_SECOND} a second: 99th percentile"
                yield Figure(name=name, value=paced.percentile_ms(99), unit="ms", at_most=100)
            assert client.job(job).counts.get("waiting"), "the job must run all the time"


async def as_many_as_possible(url: str, key: str, path: str) -> Polled:
    waited: list[float] = []
    end = time.monotonic() + SECONDS

    async def poll() -> None:
        connection = HttpConnection(url, key)
        while (begin := time.monotonic()) < end:
            (await connection.get(path)).json()
            waited.append(time.monotonic() - begin)
        connection.close()

    await asyncio.gather(*(poll() for _ in range(CALLERS)))
    return Polled(len(waited), SECONDS, waited)


async def at_fixed_times(url: str, key: str, path: str) -> Polled:
    """What waits for a free caller counts as waiting for the answer."""
    waited: list[float] = []
    callers = 4 * CALLERS
    begin = time.monotonic()

    async def poll(number: int) -> None:
        connection = HttpConnection(url, key)
        for turn in range(number, int(SECONDS * POLLS_A_SECOND), callers):
            due = begin + turn / POLLS_A_SECOND
            await asyncio.sleep(due - time.monotonic())
            (await connection.get(path)).json()
            waited.append(time.monotonic() - due)
        connection.close()

    await asyncio.gather(*(poll(number) for number in range(callers)))
    return Polled(len(waited), SECONDS, waited)


@contextmanager
def empty_server() -> Iterator[str]:
    app = FastAPI()

    @app.get("/")
    async def nothing() -> dict[str, str]:
        return {"status": "ok"}

    listener = socket.create_server(("127.0.0.1", 0))
    server = WebServer(app)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
