"""Messages of a farm at work are lost or broken, and its broker dies; all rules hold afterwards."""

from __future__ import annotations

import json
import operator
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from common.nodes import INGEST_QUEUE
from coordinator.embedded.ports import kept_ports
from tests.faults.target import send
from tests.faults.trial import Trial, farm_at_work
from tests.require import require_program

pytestmark = pytest.mark.slow

#: Those of the trial's nodes.
_TICKET_QUEUES = ("render.public.vram08", "render.public.vram24")
_SLOW_TICKETS = _TICKET_QUEUES[1]
#: Of two nodes, and ingest.
_WORKERS = 3
#: Queues to the only part that takes from each; the other node makes what ingest is told of.
_SLOW = {_SLOW_TICKETS: "node-24", INGEST_QUEUE: "ingest"}
_UNTIL_IT_RUNS = Retry(ConstantBackoff(0.1), 300)
_NO_HEADERS = b'{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "properties": {}}'
_UNKNOWN_TASK = (
    b'{"body": "W1tdLCB7fSwge31d", "content-type": "application/json", "content-encoding": "utf-8",'
    b' "headers": {"task": "no.such", "id": "1", "lang": "py"},'
    b' "properties": {"delivery_tag": "1", "delivery_info": {"exchange": "", "routing_key": "x"},'
    b' "body_encoding": "base64"}}'
)
_MALFORMED = (b"not json", b"{}", b"[]", b"null", b"\xff\xfe\x00", b'{"body": 1}', _NO_HEADERS, _UNKNOWN_TASK)


def until_all_wait(trial: Trial) -> None:
    """For messages; so none of them holds a ticket, a claim or an upload."""

    def waiting() -> int:
        return sum(client["cmd"] == "brpop" and "b" in client["flags"] for client in broker.client_list())

    with trial.target.broker() as broker:
        trial.target.house.wait_for(waiting, lambda workers: workers == _WORKERS)


@contextmanager
def stopped(trial: Trial, *parts: str) -> Iterator[None]:
    """Too slow for their messages, as long as the block lasts."""
    processes = [pid for part in parts if (pid := trial.target.pid(part))]
    assert len(processes) == len(parts)
    for process in processes:
        assert send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            send(process, signal.SIGCONT)


def test_a_broker_that_is_emptied_in_mid_job_costs_nothing(trial: Trial) -> None:
    until_all_wait(trial)
    # The other node works meanwhile.
    with stopped(trial, "node-24"), trial.target.broker() as broker:
        trial.submit()
        trial.target.house.wait_for(lambda: broker.llen(_SLOW_TICKETS), bool)
        broker.flushall()
    found = trial.judge()
    assert {batch["outcome"] for batch in found.tables["batches"]} == {"finished"}
    states = Counter(attempt["state"] for attempt in found.tables["attempts"])
    taken_back = sum(batch["trimmed"] for batch in found.tables["batches"])
    assert states == +Counter(stored=len(found.wanted), released=taken_back)


def test_tickets_lost_between_broker_and_worker_come_back(trial: Trial) -> None:
    # More than all nodes take at once, so that the next batches need tickets.
    trial.submit(shots=160)
    with redis.Redis.from_url(trial.target.settings().broker_url, socket_timeout=None) as broker:
        # As a worker takes one that dies before it has parked it; who waits longest is served first.
        lost = [broker.brpop(_TICKET_QUEUES, timeout=120) for _ in range(2)]
    assert all(lost)
    trial.judge()


def test_an_upload_whose_message_is_lost_is_ingested_all_the_same(trial: Trial) -> None:
    with stopped(trial, "ingest"), trial.target.broker() as broker:
        trial.submit()
        trial.target.house.wait_for(lambda: broker.llen(INGEST_QUEUE), bool)
        assert broker.delete(INGEST_QUEUE)
    trial.judge()


@pytest.mark.parametrize("queues", [_TICKET_QUEUES, (INGEST_QUEUE,)], ids=["tickets", "ingest"])
def test_messages_that_are_no_tasks_are_swallowed_and_the_work_goes_on(
    trial: Trial, queues: tuple[str, ...]
) -> None:
    nodes = [trial.target.pid(node) for node in ("node-8a", "node-24")]
    trial.begin()
    with trial.target.broker() as broker:
        for queue in queues:
            broker.rpush(queue, *_MALFORMED)
    trial.judge()
    with trial.target.broker() as broker:
        trial.target.house.wait_for(lambda: sum(map(broker.llen, queues)), lambda left: left == 0)
    assert [trial.target.pid(node) for node in ("node-8a", "node-24")] == nodes


class PersistentRedis:
    """A Redis that writes each message to disk before it answers; may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        program = require_program("redis-server", "apt-get install redis-server")
        port = kept_ports(folder / "ports.json", ("redis",))["redis"]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._disk, self._copy = folder / "disk", folder / "copy"
        self._disk.mkdir()
        self._command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._disk)]
        self._command += ["--appendonly", "yes", "--appendfsync", "always", "--logfile", str(folder / "log")]

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def keep_disk(self) -> None:
        """Of a server that does not run: as it is now, for `put_disk_back`."""
        shutil.copytree(self._disk, self._copy)

    def put_disk_back(self) -> None:
        """As after a loss of power: what was done since then was not written yet."""
        shutil.rmtree(self._disk)
        shutil.copytree(self._copy, self._disk)

    def messages(self, queue: str) -> set[bytes]:
        """What lies on the queue, once a server that starts has read its disk."""
        with redis.Redis.from_url(
            self.url, retry=_UNTIL_IT_RUNS, retry_on_error=[redis.ConnectionError]
        ) as broker:
            return set(broker.lrange(queue, 0, -1))


@contextmanager
def persistent_redis(folder: Path) -> Iterator[PersistentRedis]:
    folder.mkdir()
    server = PersistentRedis(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def assert_all_left(server: PersistentRedis, before: dict[str, set[bytes]]) -> None:
    for queue, messages in before.items():
        assert messages
        assert messages <= server.messages(queue)


def tickets_of(messages: set[bytes]) -> set[str]:
    return {json.loads(message)["headers"]["id"] for message in messages}


def test_a_broker_with_persistence_keeps_its_messages_and_old_ones_that_come_back_do_no_harm(
    tmp_path: Path,
) -> None:
    with (
        persistent_redis(tmp_path / "redis") as server,
        farm_at_work(tmp_path, broker_url=server.url) as watch,
    ):
        trial = Trial(watch.target, watch)
        until_all_wait(trial)
        with stopped(trial, *_SLOW.values()):
            trial.submit(shots=40)
            before = {
                queue: trial.target.house.wait_for(partial(server.messages, queue), bool) for queue in _SLOW
            }
            server.kill()
            server.keep_disk()
            server.start()
            assert_all_left(server, before)
        trial.settle()
        until_all_wait(trial)
        batches = trial.batches()
        assert tickets_of(before[_SLOW_TICKETS]) & {batch["ticket"] for batch in batches}

        with stopped(trial, *_SLOW.values()):
            server.kill()
            server.put_disk_back()
            server.start()
            assert_all_left(server, before)
        for queue in _SLOW:
            trial.target.house.wait_for(partial(server.messages, queue), operator.not_)
        until_all_wait(trial)
        assert trial.batches() == batches
        trial.submit(shots=8)
        trial.judge()
