"""Messages of a farm at work are lost or broken, and its broker dies; all rules hold afterwards."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from common.nodes import INGEST_QUEUE
from coordinator.embedded.ports import kept_ports
from tests.faults.target import send
from tests.faults.trial import Trial, farm_at_work
from tests.require import require_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Those of the trial's nodes.
_TICKET_QUEUES = ("render.public.vram08", "render.public.vram24")
#: Of two nodes, and ingest.
_WORKERS = 3
_NO_HEADERS = b'{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "properties": {}}'
_UNKNOWN_TASK = (
    b'{"body": "W1tdLCB7fSwge31d", "content-type": "application/json", "content-encoding": "utf-8",'
    b' "headers": {"task": "no.such", "id": "1", "lang": "py"},'
    b' "properties": {"delivery_tag": "1", "delivery_info": {"exchange": "", "routing_key": "x"},'
    b' "body_encoding": "base64"}}'
)
_MALFORMED = (b"not json", b"{}", b"[]", b"null", b"\xff\xfe\x00", b'{"body": 1}', _NO_HEADERS, _UNKNOWN_TASK)


def waiting_workers(broker: redis.Redis) -> int:
    """Workers that wait for a message, and so hold neither a ticket nor a claim."""
    return sum(client["cmd"] == "brpop" and "b" in client["flags"] for client in broker.client_list())


def test_a_broker_that_is_emptied_in_mid_job_costs_nothing(trial: Trial) -> None:
    node = trial.target.pid("node-24")
    assert node is not None
    with trial.target.broker() as broker:
        trial.target.house.wait_for(lambda: waiting_workers(broker), lambda idle: idle == _WORKERS)
        # Too slow for its tickets; the other node works meanwhile.
        assert send(node, signal.SIGSTOP)
        try:
            trial.submit()
            trial.target.house.wait_for(lambda: broker.llen("render.public.vram24"), bool)
            broker.flushall()
        finally:
            send(node, signal.SIGCONT)
    found = trial.judge()
    assert {batch["outcome"] for batch in found.tables["batches"]} == {"finished"}
    assert {attempt["state"] for attempt in found.tables["attempts"]} == {"stored"}


def test_tickets_lost_between_broker_and_worker_come_back(trial: Trial) -> None:
    trial.submit(shots=40)
    with redis.Redis.from_url(trial.target.settings().broker_url) as broker:
        # As a worker takes one that dies before it has parked it; who waits longest is served first.
        lost = [broker.brpop(_TICKET_QUEUES, timeout=60) for _ in range(2)]
    assert all(lost)
    trial.judge()


def test_an_upload_whose_message_is_lost_is_ingested_all_the_same(trial: Trial) -> None:
    ingest = trial.target.pid("ingest")
    assert ingest is not None
    # Too slow for the message, not for the work.
    assert send(ingest, signal.SIGSTOP)
    try:
        trial.submit()
        with trial.target.broker() as broker:
            trial.target.house.wait_for(lambda: broker.llen(INGEST_QUEUE), bool)
            assert broker.delete(INGEST_QUEUE)
    finally:
        send(ingest, signal.SIGCONT)
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
        self._command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--appendonly", "yes", "--appendfsync", "always", "--logfile", str(folder / "log")]

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def persistent_redis(folder: Path) -> Iterator[PersistentRedis]:
    folder.mkdir()
    server = PersistentRedis(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_a_broker_with_persistence_that_is_killed_brings_old_messages_back_and_none_does_harm(
    tmp_path: Path,
) -> None:
    with (
        persistent_redis(tmp_path / "redis") as server,
        farm_at_work(tmp_path, broker_url=server.url) as watch,
    ):
        trial = Trial(watch.target, watch)
        trial.begin()
        server.kill()
        server.start()
        trial.judge()
        with redis.Redis.from_url(server.url) as broker:
            assert broker.info("persistence")["aof_enabled"]
