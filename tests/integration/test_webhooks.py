"""Webhooks with a real receiver: what is posted, when it is posted again, and that none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from common.errors import Forbidden
from common.key_messages import NewKey
from common.settings import Webhooks
from common.webhooks import WebhookMessage, verify
from coordinator.background import webhooks
from coordinator.background.receivers import Receivers
from coordinator.ledger import Act
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm, until
from tests.integration.api.calls import refused, submit
from tests.integration.test_event_streams import render
from tests.receiver import Posted, Receiver, receiver
from tests.scrape import counted
from tests.servers import ValkeyServer

PRIVATE = Webhooks(private_addresses=True)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order and number of tries is as usual, the pauses are short."""
    monkeypatch.setattr(webhooks, "_REST_S", 0.05)
    monkeypatch.setattr(webhooks, "_FIRST_S", 0.05)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    folder = tmp_path_factory.mktemp("webhooks")
    with running_farm(folder, valkey_server.url, look_ahead=False, webhooks=PRIVATE) as running:
        yield running


@pytest.fixture
def operator(farm: RunningFarm) -> Iterator[httpx.Client]:
    with farm.client() as client:
        yield client


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def add(client: httpx.Client, there: Receiver, **fields: object) -> tuple[str, str]:
    """ID and secret of a new webhook."""
    answer = (
        client.post("/v1/webhooks", json={"url": f"{there.url}/farm", **fields}).raise_for_status().json()
    )
    return answer["id"], answer["secret"]


def read(posted: Posted, secret: str) -> WebhookMessage:
    return verify(secret, posted.headers, posted.body, time.time())


def told(there: Receiver, secret: str, *, ends: int = 1) -> list[tuple[str, str]]:
    """Jobs and states up to so many ends of jobs."""
    found: list[tuple[str, str]] = []
    while ends:
        for event in read(there.next(), secret).events:
            assert event.type != "reset"
            found.append((event.job, event.state if event.type == "shot" else event.status))
            ends -= event.type == "job"
    return found


def test_a_receiver_is_told_of_each_image_and_of_the_end_with_a_signature(
    farm: RunningFarm, operator: httpx.Client, there: Receiver
) -> None:
    hook, secret = add(operator, there)
    job = submit(operator)
    with ScriptedNode(farm) as node:
        render(farm, node, 4)
    assert told(there, secret) == [(job, "done")] * 5

    answer = operator.post(f"/v1/webhooks/{hook}/test").json()
    posted = there.next()
    assert (answer["status"], answer["events"], posted.path) == (204, 0, "/farm")
    assert read(posted, secret).events == ()
    with pytest.raises(Forbidden):
        verify(secret, posted.headers, posted.body + b" ", time.time())
    with pytest.raises(Forbidden):
        verify(secret, posted.headers, posted.body, time.time() + 3600)
    (view,) = operator.get("/v1/webhooks").json()
    assert "secret" not in view
    assert {each["status"] for each in view["answers"]} == {204}
    operator.delete(f"/v1/webhooks/{hook}").raise_for_status()
    assert operator.get("/v1/webhooks").json() == []


def test_what_a_receiver_does_not_take_is_posted_again_under_the_same_id(
    farm: RunningFarm, operator: httpx.Client, there: Receiver
) -> None:
    there.statuses = [503, 302, 404]
    hook, secret = add(operator, there, events=["job"])
    job = submit(operator)
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()

    posts = [there.next() for _ in range(4)]

    assert {posted.path for posted in posts} == {"/farm"}, "no redirect is followed"
    assert len({posted.headers["webhook-id"] for posted in posts}) == 1
    assert [event.id for event in read(posts[0], secret).events] == [
        event.id for event in read(posts[-1], secret).events
    ]
    until(lambda: operator.get("/v1/webhooks").json()[0]["failing_since"] is None)
    (view,) = operator.get("/v1/webhooks").json()
    assert [each["status"] for each in view["answers"]] == [204, 404, 302, 503]
    assert counted(farm, "farm_webhook_posts", outcome="failed") == 3
    operator.delete(f"/v1/webhooks/{hook}").raise_for_status()


def test_a_restart_loses_no_event_that_its_receiver_has_not_taken(
    tmp_path: Path, valkey_server: ValkeyServer, there: Receiver
) -> None:
    there.statuses = [500] * 1000
    with running_farm(tmp_path, valkey_server.url, webhooks=PRIVATE) as farm, farm.client() as operator:
        _, secret = add(operator, there, events=["job"])
        first = submit(operator)
        operator.post(f"/v1/jobs/{first}/cancel").raise_for_status()
        there.next()
    there.statuses = []
    with running_farm(tmp_path, valkey_server.url, webhooks=PRIVATE) as farm, farm.client() as operator:
        manifest = MANIFEST.replace("} mug", "} cup")
        second = operator.post("/v1/jobs", json={"manifest": manifest}).json()["id"]
        operator.post(f"/v1/jobs/{second}/cancel").raise_for_status()
        seen = set()
        while seen < {(first, "cancelled"), (second, "cancelled")}:
            seen |= set(told(there, secret))


def test_a_key_of_an_owner_is_told_of_its_own_jobs_until_it_is_revoked(
    farm: RunningFarm, operator: httpx.Client, there: Receiver
) -> None:
    act = Act(by="operator", owner="", action="key create", subject="")
    new = NewKey(name="hooked", owner="ana", scopes=("submit",), lanes=("public",))
    with farm.bearing(farm.farm.create_key(new, act).key) as ana:
        refused(ana.post("/v1/webhooks", json={"url": there.url, "owner": "bo"}), 403)
        hook, secret = add(ana, there)
        theirs = operator.post("/v1/jobs", json={"manifest": MANIFEST, "owner": "bo"}).json()["id"]
        own = ana.post("/v1/jobs", json={"manifest": MANIFEST}).json()["id"]
        for job in (theirs, own):
            operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        assert {job for job, _ in told(there, secret)} == {own}
        assert [view["id"] for view in ana.get("/v1/webhooks").json()] == [hook]
    operator.post("/v1/keys/hooked/revoke").raise_for_status()
    assert operator.get("/v1/webhooks").json() == []


def test_private_addresses_are_not_posted_to_unless_the_farm_allows_it(
    tmp_path: Path, valkey_server: ValkeyServer, there: Receiver
) -> None:
    port = there.url.rpartition(":")[2]
    with running_farm(tmp_path, valkey_server.url) as farm, farm.client() as operator:
        for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost"):
            sentence = refused(operator.post("/v1/webhooks", json={"url": f"http://{host}:{port}/"}), 422)
            assert "webhooks.private_addresses" in sentence
    # A name that turns out to be this machine's.
    answer = asyncio.run(Receivers(private_addresses=False).post(f"http://localhost:{port}/", {}, b"{}", 0))
    assert answer.status is None
    assert "webhooks.private_addresses" in answer.message
    assert there.posted.empty()
