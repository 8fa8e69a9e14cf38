"""The Celery settings together, against a real Valkey and a worker in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256

import pytest
import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from common.celeryapp import Publisher
from common.errors import Conflict, Unavailable
from common.settings import Keys, Settings
from coordinator.background.broker_users import BrokerUsers
from coordinator.ledger import BrokerAccount
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


PASSWORD = "secret"
ACCOUNT = BrokerAccount("node-1", ("quiet", "public"), 8, sha256(PASSWORD.encode()).hexdigest())


@pytest.fixture
def publisher(own_valkey: ValkeyServer) -> Iterator[Publisher]:
    publisher = Publisher(own_valkey.url)
    yield publisher
    publisher.close()


def users_of(publisher: Publisher, broker_url: str, *accounts: BrokerAccount, **settings: str) -> BrokerUsers:
    given = Settings(broker_url=broker_url, keys=Keys(ticket=SecretStr("secret")), **settings)
    return BrokerUsers(
        publisher, given, lambda node_id: [one for one in accounts if node_id in (None, one.node_id)]
    )


@pytest.fixture
def node_url(publisher: Publisher, own_valkey: ValkeyServer) -> str:
    return users_of(publisher, own_valkey.url, ACCOUNT).admit("node-1", PASSWORD)


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
        ("BRPOP", "render.secret-client.vram08", "1"),
        ("BRPOP", "render.public.vram24", "1"),
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
    ids="-".join,
)
def test_the_nodes_user_may_do_nothing_else(node_url: str, command: tuple[str, ...]):
    with redis.Redis.from_url(node_url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_the_nodes_url_carries_the_advertised_address(publisher: Publisher, own_valkey: ValkeyServer):
    users = users_of(publisher, own_valkey.url, ACCOUNT, public_broker_url="redis://farm.example:6379/0")
    url = users.admit("node-1", PASSWORD)
    assert url == f"redis://{users.name('node-1')}:{PASSWORD}@farm.example:6379/0"


def may_take(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return client.llen(QUEUE) == 0
    except redis.AuthenticationError:
        return False


def test_a_node_that_is_dropped_takes_no_ticket_even_if_it_is_connected(
    publisher: Publisher, own_valkey: ValkeyServer
):
    users = users_of(publisher, own_valkey.url, ACCOUNT, ACCOUNT._replace(node_id="node-2"))
    url, other = users.admit("node-1", PASSWORD), users.admit("node-2", PASSWORD)
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as connected:
        assert connected.llen(QUEUE) == 0
        users.drop("node-1")
        with pytest.raises(redis.RedisError):
            connected.llen(QUEUE)
    assert not may_take(url)
    assert may_take(other)


@pytest.mark.parametrize("now", [(), (ACCOUNT._replace(digest="0" * 64),)], ids=["ended", "joined again"])
def test_a_join_that_is_overtaken_gets_no_user(
    publisher: Publisher, own_valkey: ValkeyServer, now: tuple[BrokerAccount, ...]
):
    users = users_of(publisher, own_valkey.url, *now)
    users.drop("node-1")
    with pytest.raises(Conflict, match="node-1 has joined again, or its access has ended"):
        users.admit("node-1", PASSWORD)
    assert users.name("node-1") not in publisher.users()


def test_a_broker_that_lost_its_users_gets_those_of_the_ledger_back_and_no_others(
    publisher: Publisher, own_valkey: ValkeyServer
):
    users = users_of(publisher, own_valkey.url, ACCOUNT)
    url = users.admit("node-1", PASSWORD)
    own_valkey.kill()
    own_valkey.start()
    assert not may_take(url)
    publisher.define_user("farm-node", ["on", ">of-all-nodes", "~*", "+@all"])
    publisher.define_user(users.name("revoked"), ["on", ">old", "~*", "+@all"])
    publisher.define_user("grafana", ["on", ">another", "~*", "+@all"])
    users.define()
    assert may_take(url)
    assert {*publisher.users()} == {"default", "grafana", users.name("node-1"), users.name("").rstrip(".")}
