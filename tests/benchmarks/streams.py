"""What open event streams cost the coordinator in memory, and how soon all of them are told."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import psutil

from common.events import JobUpdate
from tests.benchmarks.figures import Figure
from tests.farm import MANIFEST, RunningFarm, running_farm, until
from tests.servers import running_valkey

STREAMS = 500
PROMISED_MB = 50
#: Streams that are opened and closed before, so that what is loaded once does not count.
_WARM = 20
_ROUNDS = 20


def measure() -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_valkey(Path(folder) / "valkey") as valkey,
        running_farm(Path(folder), valkey.url) as farm,
    ):
        with watchers(farm, _WARM) as warm:
            tell(farm, warm)
        before = resident()
        with watchers(farm, STREAMS) as many:
            seconds = [tell(farm, many) for _ in range(_ROUNDS)]
            grown_mb = (resident() - before) / 1e6
    name = f"{STREAMS} open event streams"
    yield Figure(name=name, value=grown_mb, unit="MB", at_most=PROMISED_MB)
    yield Figure(name=f"{name}: all told, median", value=sorted(seconds)[_ROUNDS // 2], unit="s")


def resident() -> int:
    """Bytes of this process, which is the coordinator."""
    return int(psutil.Process().memory_info().rss)


@contextmanager
def watchers(farm: RunningFarm, number: int) -> Iterator[Popen[str]]:
    """So many watchers of all jobs in a process of their own, all of which are connected."""
    command = [sys.executable, "-m", "tests.benchmarks.streams", farm.url, str(number)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        until(lambda: len(farm.farm.event_streams) == number)
        yield process
        assert process.stdin is not None
        process.stdin.close()
    until(lambda: not len(farm.farm.event_streams))


def tell(farm: RunningFarm, watching: Popen[str]) -> float:
    """Seconds from a submission until the last watcher has heard of it."""
    with farm.client() as operator:
        began = time.monotonic()
        job = operator.post("/v1/jobs", json={"manifest": MANIFEST}).raise_for_status().json()["id"]
        assert watching.stdout is not None
        while watching.stdout.readline().strip() != job:
            pass
        took_s = time.monotonic() - began
        operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    return took_s


async def watch(url: str, number: int) -> None:
    """Print the ID of each job once all watchers have heard of it, until stdin is closed."""
    heard: dict[str, int] = {}

    async def one() -> None:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"GET /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer operator-key\r\n\r\n"
        writer.write(head.encode())
        known = set()
        async for line in reader:
            if line.startswith(b'data: {"id"') and b'"type":"job"' in line:
                job = JobUpdate.model_validate_json(line.removeprefix(b"data: ")).job
                if job not in known:
                    known.add(job)
                    heard[job] = heard.get(job, 0) + 1
                    if heard[job] == number:
                        print(job, flush=True)

    tasks = [asyncio.create_task(one()) for _ in range(number)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1], int(sys.argv[2])))
