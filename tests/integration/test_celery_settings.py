"""The Celery settings together, against a real Valkey and a worker in a process of its own."""

from __future__ import annotations

import json

import pytest
import redis

from common.celeryapp import Publisher
from common.errors import Unavailable
from common.settings import Keys, Settings
from coordinator.background.broker_user import BrokerUser
from tests.servers import ValkeyServer
from tests.ticket_worker import ticket_worker

QUEUE = "render.public.vram08"


def test_a_ticket_reaches_the_worker_of_its_queue_as_the_task_id(own_valkey: ValkeyServer):
    publisher = Publisher(own_valkey.url)
    with ticket_worker(own_valkey.url, QUEUE) as worker:
        publisher.publish_ticket("render.public.vram24", "other")
        publisher.publish_ticket(QUEUE, "mine")
        assert worker.next_ticket() == "mine"
        assert publisher.depths([QUEUE, "render.public.vram24"]) == {QUEUE: 0, "render.public.vram24": 1}
    publisher.close()


def test_the_same_worker_goes_on_after_the_broker_was_killed_and_after_it_was_flushed(
    own_valkey: ValkeyServer,
):
    publisher = Publisher(own_valkey.url)
    with ticket_worker(own_valkey.url, QUEUE) as worker, redis.Redis.from_url(own_valkey.url) as client:
        publisher.publish_ticket(QUEUE, "before")
        assert worker.next_ticket() == "before"
        own_valkey.kill()
        with pytest.raises(Unavailable):
            publisher.publish_ticket(QUEUE, "lost")
        own_valkey.start()
        publisher.publish_ticket(QUEUE, "after the kill")
        assert worker.next_ticket() == "after the kill"
        client.flushall()
        publisher.publish_ticket(QUEUE, "after the flush")
        assert worker.next_ticket() == "after the flush"
    publisher.close()


def test_a_ticket_carries_no_arguments_and_no_trace_of_any(valkey_server: ValkeyServer):
    publisher = Publisher(valkey_server.url)
    publisher.publish_ticket("render.quiet.vram08", "t")
    with redis.Redis.from_url(valkey_server.url) as client:
        message = json.loads(client.rpop("render.quiet.vram08"))  # type: ignore[arg-type]
    assert (message["headers"]["argsrepr"], message["headers"]["kwargsrepr"]) == ("", "")
    assert message["headers"]["id"] == "t"
    publisher.close()


def test_a_broker_that_is_away_is_reported_without_its_password(own_valkey: ValkeyServer):
    publisher = Publisher(own_valkey.url)
    own_valkey.kill()
    for call in (lambda: publisher.publish_ticket(QUEUE, "t"), lambda: publisher.depths([QUEUE])):
        with pytest.raises(Unavailable, match=f"127.0.0.1:{own_valkey.port}") as caught:
            call()
        assert own_valkey.url.split("@")[0].rpartition(":")[2] not in str(caught.value)
    publisher.close()


@pytest.fixture
def node_url(own_valkey: ValkeyServer):
    publisher = Publisher(own_valkey.url)
    user = BrokerUser(publisher, Settings(broker_url=own_valkey.url, keys=Keys(ticket="secret")))
    user.define()
    yield user.url()
    publisher.close()


def test_the_nodes_user_takes_tickets(own_valkey: ValkeyServer, node_url: str):
    publisher = Publisher(own_valkey.url)
    with ticket_worker(node_url, QUEUE) as worker:
        publisher.publish_ticket(QUEUE, "mine")
        assert worker.next_ticket() == "mine"
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.execute_command("ACL", "LOG") == []
    publisher.close()


@pytest.mark.parametrize(
    "command",
    [
        ("LPUSH", QUEUE, "{}"),
        ("LRANGE", QUEUE, "0", "-1"),
        ("DEL", QUEUE),
        ("BRPOP", "ingest", "1"),
        ("SADD", QUEUE, "x"),
        ("GET", "x"),
        ("SET", "x", "y"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("EVAL", "return 1", "0"),
        ("PUBLISH", "x", "y"),
        ("SUBSCRIBE", "x"),
        ("CLIENT", "LIST"),
        ("SHUTDOWN",),
    ],
    ids=lambda command: command[0],
)
def test_the_nodes_user_may_do_nothing_else(node_url: str, command: tuple[str, ...]):
    with redis.Redis.from_url(node_url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_the_nodes_url_carries_the_advertised_address(own_valkey: ValkeyServer):
    publisher = Publisher(own_valkey.url)
    settings = Settings(
        broker_url=own_valkey.url, public_broker_url="redis://farm.example:6379/0", keys=Keys(ticket="secret")
    )
    url = BrokerUser(publisher, settings).url()
    assert url.startswith("redis://farm-node:")
    assert url.endswith("@farm.example:6379/0")
    publisher.close()
