"""What a listening node is told, and when: over real HTTP, without any heartbeat in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.messages import HeartbeatAnswer, Lease, Listen
from common.views import Submit
from tests.farm import DEADLINE_S, MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm, until
from tests.servers import ValkeyServer

#: Far longer than a test may take: what is heard is heard before its time is up.
TIMING = QUICK.model_copy(update={"claim_wait_s": 3600.0})
GO_ON = HeartbeatAnswer(order="go on")

Ask = Callable[..., "Future[httpx.Response]"]


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path, own_valkey.url, timing=TIMING) as running:
        yield running


@pytest.fixture
def ask(farm: RunningFarm, node: ScriptedNode) -> Iterator[Ask]:
    """Listen in a thread of its own; every call is over when the test is."""
    with farm.as_node("node-1") as client, ThreadPoolExecutor() as threads:

        def start(lease: Lease | None = None, **changes: Any) -> Future[httpx.Response]:
            return threads.submit(listen, client, node, lease, **changes)

        yield start
        # Ends what is still held.
        listen(client, node, wait_s=0.0)


def listen(
    client: httpx.Client, node: ScriptedNode, lease: Lease | None = None, **changes: Any
) -> httpx.Response:
    held = {} if lease is None else {"batch_id": lease.batch_id, "token": lease.token}
    message = Listen(**{"incarnation": node.joined.incarnation, "wait_s": 3600.0, **held, **changes})
    return client.post(
        f"/v1/nodes/{node.joined.node_id}/orders", json=message.model_dump(mode="json"), timeout=DEADLINE_S
    )


def submit(operator: httpx.Client) -> str:
    answer = operator.post("/v1/jobs", json=Submit(manifest=MANIFEST).model_dump()).raise_for_status()
    return str(answer.json()["id"])


def held(farm: RunningFarm) -> frozenset[str]:
    return farm.farm.orders.callers()


def heard(call: Future[httpx.Response]) -> HeartbeatAnswer:
    return HeartbeatAnswer.model_validate_json(call.result(DEADLINE_S).raise_for_status().content)


def test_a_node_in_work_hears_at_once_that_its_job_is_cancelled(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, ask: Ask
) -> None:
    job = submit(operator)
    lease = node.lease()
    call = ask(lease)
    until(lambda: bool(held(farm)))
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()

    answer = heard(call)

    assert (answer.order, answer.cancelled) == ("go on", tuple(shot.id for shot in lease.shots))


def test_an_idle_node_hears_at_once_that_it_is_drained(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, ask: Ask
) -> None:
    call = ask()
    until(lambda: bool(held(farm)))
    operator.post(f"/v1/nodes/{node.joined.node_id}/drain").raise_for_status()

    assert heard(call).order == "drain"


def test_a_listener_that_holds_what_is_over_hears_stop_without_waiting(
    operator: httpx.Client, node: ScriptedNode, ask: Ask
) -> None:
    submit(operator)
    lease = node.lease()
    node.close(lease)

    assert heard(ask(lease)).order == "stop"


def test_what_the_node_knows_is_not_told_again(operator: httpx.Client, node: ScriptedNode, ask: Ask) -> None:
    operator.post(f"/v1/nodes/{node.joined.node_id}/drain").raise_for_status()
    told = heard(ask())
    assert told.order == "drain"

    assert heard(ask(known=told.model_dump(), wait_s=0.1)) == told


def test_a_newer_call_of_a_node_ends_the_older_one(farm: RunningFarm, node: ScriptedNode, ask: Ask) -> None:
    older = ask()
    until(lambda: bool(held(farm)))
    newer = ask()

    assert heard(older) == GO_ON
    assert not newer.done()


def test_the_newest_of_several_calls_hears_an_order_at_once(
    farm: RunningFarm, node: ScriptedNode, ask: Ask, operator: httpx.Client
) -> None:
    """They come together: the second one is outdated before it has looked."""
    calls = [ask() for _ in range(4)]
    until(lambda: sum(not call.done() for call in calls) == 1)

    operator.post(f"/v1/nodes/{node.joined.node_id}/drain").raise_for_status()

    until(lambda: all(call.done() for call in calls))
    assert [heard(call).order for call in calls].count("drain") == 1


def test_an_incarnation_that_is_over_hears_so(node: ScriptedNode, ask: Ask) -> None:
    assert ask(incarnation=node.joined.incarnation + 1).result(DEADLINE_S).status_code == 410


def test_a_coordinator_that_ends_waits_for_no_listener(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    with ThreadPoolExecutor() as threads:
        with running_farm(tmp_path, own_valkey.url, timing=TIMING) as farm:
            node = ScriptedNode(farm)
            call = threads.submit(listen, node.http, node)
            until(lambda: bool(held(farm)))

        assert heard(call) == GO_ON
        node.leave()
