"""Event streams over real HTTP: what a watcher is told, when, and that it misses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.errors import Unauthorised
from common.key_messages import NewKey
from common.messages import Lease, LeasedShot
from coordinator.calls import event_streams
from coordinator.calls.event_streams import EventStreams, Watcher
from coordinator.ledger import EVERYTHING, Act, EventPage
from coordinator.ledger.event_log import EventLog
from tests.farm import MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm, until
from tests.integration.api.calls import refused, submit
from tests.integration.api.sides import store
from tests.servers import ValkeyServer

Event = dict[str, Any]


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path_factory.mktemp("events"), valkey_server.url, look_ahead=False) as running:
        yield running


@pytest.fixture
def operator(farm: RunningFarm) -> Iterator[httpx.Client]:
    with farm.client() as client:
        yield client


@contextmanager
def stream(
    client: httpx.Client, path: str = "/v1/events", last_id: int | None = None
) -> Iterator[Iterator[Event]]:
    """The events of a stream, as they come."""
    headers = {} if last_id is None else {"last-event-id": str(last_id)}
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        with closing(parsed(answer.iter_lines())) as events:
            yield events


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            event: Event = json.loads(fields["data"])
            assert (fields["event"], fields["id"]) == (event["type"], str(event["id"]))
            yield event
            fields = {}


def upto(events: Iterator[Event], found: Callable[[Event], bool]) -> list[Event]:
    """The events up to the first that is `found`."""
    seen = []
    for event in events:
        seen.append(event)
        if found(event):
            return seen
    raise AssertionError(f"the stream ended with {seen}")


def is_done(event: Event) -> bool:
    return event["type"] == "job" and event["status"] == "done"


def states(events: list[Event]) -> list[tuple[int, str]]:
    return [(event["position"], event["state"]) for event in events if event["type"] == "shot"]


def render(farm: RunningFarm, node: ScriptedNode, images: int) -> None:
    """Deliver so many images, and let them be stored."""
    while images:
        lease = node.lease()
        for shot in lease.shots[:images]:
            stored(farm, node, lease, shot)
            images -= 1
        node.close(lease)


def stored(farm: RunningFarm, node: ScriptedNode, lease: Lease, shot: LeasedShot) -> None:
    store(farm, shot, node.deliver(lease, shot))


def key_of_ana(farm: RunningFarm, name: str) -> str:
    act = Act(by="operator", owner="", action="key create", subject="")
    new = NewKey(name=name, owner="ana", scopes=("submit",), lanes=("public",))
    return farm.farm.create_key(new, act).key


def test_a_watcher_of_a_job_is_told_its_state_then_each_image_then_the_end(
    farm: RunningFarm, operator: httpx.Client
) -> None:
    job = submit(operator)
    with stream(operator, f"/v1/jobs/{job}/events") as events, ScriptedNode(farm) as node:
        assert next(events)["counts"] == {"waiting": 4}
        render(farm, node, 4)
        seen = upto(events, lambda event: event.get("ended", False))

    assert sorted(states(seen)) == [(position, "done") for position in range(4)]
    assert seen[-1]["counts"] == {"done": 4}
    assert [event["id"] for event in seen] == sorted(event["id"] for event in seen)


def test_a_watcher_of_all_jobs_is_told_of_a_new_one_and_of_its_end(operator: httpx.Client) -> None:
    with stream(operator) as events:
        job = operator.post("/v1/jobs", json={"manifest": MANIFEST}).raise_for_status().json()
        first = upto(events, lambda event: event["job"] == job["id"])[-1]
        operator.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
        upto(events, lambda event: event.get("job") == job["id"] and event["status"] == "cancelled")

    assert (first["type"], first["name"], first["images"]) == ("job", "mugs", 4)


def test_a_watcher_that_reconnects_misses_nothing_even_if_the_farm_was_restarted(
    tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    manifest = MANIFEST.replace("seeds: 2", "seeds: 4").replace("} mug", "} cup")
    with running_farm(tmp_path, valkey_server.url, look_ahead=False) as farm, farm.client() as operator:
        job = operator.post("/v1/jobs", json={"manifest": manifest}).json()["id"]
        with stream(operator, f"/v1/jobs/{job}/events") as events, ScriptedNode(farm) as node:
            render(farm, node, 2)
            seen = upto(events, lambda event: event["type"] == "shot")
            # The others are stored while it is away, and while no coordinator runs nobody tells.
        with ScriptedNode(farm) as node:
            render(farm, node, 3)
    with running_farm(tmp_path, valkey_server.url, look_ahead=False) as farm, farm.client() as operator:
        with ScriptedNode(farm) as node:
            render(farm, node, 1)
        with stream(operator, f"/v1/jobs/{job}/events", seen[-1]["id"]) as events, ScriptedNode(farm) as node:
            render(farm, node, 2)
            seen += upto(events, is_done)
        told = seen[-1]["id"]
        with stream(operator, f"/v1/jobs/{job}/events?after={told}") as events:
            assert is_done(next(events)), "the state of the job comes first, whatever was told before"

    assert sorted(states(seen)) == [(position, "done") for position in range(8)]


def test_a_key_of_an_owner_is_told_of_the_jobs_of_this_owner_alone(
    farm: RunningFarm, operator: httpx.Client
) -> None:
    with farm.bearing(key_of_ana(farm, "own")) as ana, stream(ana) as events:
        theirs = operator.post("/v1/jobs", json={"manifest": MANIFEST, "owner": "bo"}).json()["id"]
        own = ana.post("/v1/jobs", json={"manifest": MANIFEST}).json()["id"]
        assert next(events)["job"] == own
        for job in (theirs, own):
            operator.post(f"/v1/jobs/{job}/cancel")
        assert next(events)["job"] == own
        refused(ana.get(f"/v1/jobs/{theirs}/events"), 404)


def test_a_stream_ends_when_its_key_is_revoked(
    farm: RunningFarm, operator: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "_KEEP_ALIVE_S", 0.1)
    with farm.bearing(key_of_ana(farm, "brief")) as ana, stream(ana) as events:
        operator.post("/v1/keys/brief/revoke").raise_for_status()
        assert list(events) == []


def test_a_key_is_checked_in_time_and_before_more_is_told(
    farm: RunningFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked() -> None:
        raise Unauthorised("the key was revoked")

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        now = 0.0
        monkeypatch.setattr(loop, "time", lambda: now)
        streams = EventStreams(farm.farm.ledger, farm.farm.threads.reads, longest_s=60)
        watcher = Watcher(EVERYTHING)
        events = streams._new(watcher, loop.create_future(), revoked)
        watcher.put(b"first")
        assert await anext(events) == b"first"
        now = 0.9 * event_streams._KEEP_ALIVE_S
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        now = 1.1 * event_streams._KEEP_ALIVE_S
        watcher.put(b"second")
        with pytest.raises(StopAsyncIteration):
            await coming

    asyncio.run(scene())


def test_streams_go_on_after_an_unexpected_error(
    farm: RunningFarm, operator: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failing = EventLog.page, iter([True])

    def page(*given: Any) -> EventPage:
        if next(failing, False):
            raise KeyError("j-1")
        return read(*given)

    with stream(operator) as seen:
        monkeypatch.setattr(EventLog, "page", page)
        job = submit(operator)
        upto(seen, lambda event: event.get("job") == job)
    assert next(failing, None) is None, "no read has failed"
    operator.post(f"/v1/jobs/{job}/cancel")


def test_an_owner_and_a_coordinator_have_only_so_many_streams(
    farm: RunningFarm, operator: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with farm.bearing(key_of_ana(farm, "many")) as ana, stream(ana):
        monkeypatch.setattr(event_streams, "_MOST_OF_OWNER", 1)
        assert "close some of them" in refused(ana.get("/v1/events"), 429)
        monkeypatch.setattr(event_streams, "_MOST", 1)
        assert "try again later" in refused(operator.get("/v1/events"), 503)


def test_there_is_no_stream_of_a_job_that_does_not_exist(operator: httpx.Client) -> None:
    assert "no job j-none" in refused(operator.get("/v1/jobs/j-none/events"), 404)


def test_ids_that_the_log_does_not_have_are_answered_with_a_reset(operator: httpx.Client) -> None:
    submit(operator)
    with stream(operator, f"/v1/events?after={10**12}") as events:
        reset = next(events)
        job = submit(operator)
        # Jobs of other tests end.
        upto(events, lambda event: event["job"] == job)
    assert reset["type"] == "reset"
    assert reset["id"] < 10**12


def test_a_stream_ends_with_its_key_in_time_and_with_its_watcher(
    tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    brief = QUICK.model_copy(update={"stream_s": 0.2})
    with running_farm(tmp_path, valkey_server.url, timing=brief) as farm, farm.client() as operator:
        with stream(operator) as events:
            assert list(events) == []
        streams = farm.farm.event_streams
        with stream(operator):
            assert len(streams) == 1
        until(lambda: not len(streams))


def test_a_watcher_that_does_not_keep_up_is_dropped_and_holds_nothing() -> None:
    watcher = Watcher(EVERYTHING)
    while not watcher.dropped:
        watcher.put(b"x")
        assert len(watcher.behind) < 1000
    assert not watcher.behind
    watcher.put(b"x")
    assert not watcher.behind
