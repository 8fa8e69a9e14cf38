"""SIGTERM and Ctrl-C in every phase of a node: it drains or hands back, and nothing is reported by half."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.engine_talk import shot
from tests.node_process import Node, NodeStarter, outlived, tickets
from tests.node_worker import lease
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.servers import ValkeyServer

ENDLESS = shot(steps=100_000)


@pytest.fixture
def farm(valkey_server: ValkeyServer) -> Iterator[ScriptedFarm]:
    with running_farm(ScriptedFarm(broker_url=valkey_server.url)) as farm:
        yield farm


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def number(request: pytest.FixtureRequest) -> signal.Signals:
    return signal.Signals(request.param)


def in_pass(farm: ScriptedFarm) -> bool:
    return any(beat.steps_done for beat in farm.heartbeats)


@pytest.fixture
def rendering(farm: ScriptedFarm, start_node: NodeStarter) -> Iterator[Node]:
    """A node in a pass that has no end."""
    farm.leases.append(lease(ENDLESS))
    with tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: in_pass(farm))
        yield node


def ended_well(node: Node, *numbers: signal.Signals) -> bool:
    """Whether it exits with 0 after these signals, one sentence after the other, and its engine is gone."""
    with outlived(node.engine) as gone:
        for number in numbers[:-1]:
            node.process.send_signal(number)
            node.wait_until_it_says("press Ctrl-C again")
        return node.stop(numbers[-1]) == 0 and gone()


def test_while_it_starts(start_node: NodeStarter, number: signal.Signals) -> None:
    node = start_node("http://127.0.0.1:9")
    node.wait_until_it_says("does not answer")

    assert node.stop(number) == 0
    assert "Traceback" not in node.said


def test_while_it_waits_for_work(farm: ScriptedFarm, start_node: NodeStarter, number: signal.Signals) -> None:
    with tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.claims)

        assert ended_well(node, number)
        assert farm.closes == []
        assert [leave.incarnation for leave in farm.leaves] == [1]


def test_while_it_loads(farm: ScriptedFarm, start_node: NodeStarter) -> None:
    farm.leases.append(lease(ENDLESS))
    with tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        # The engine imports torch before it can load: that takes longer than a heartbeat.
        farm.wait_for(lambda: any("load" in beat.spent.seconds for beat in farm.heartbeats))

        assert ended_well(node, signal.SIGTERM)
        assert farm.reports == []
        assert [close.outcome for close in farm.closes] == ["released"]
        assert not in_pass(farm)


def test_while_it_renders_it_finishes_its_pass_and_hands_back_the_rest(
    farm: ScriptedFarm, start_node: NodeStarter, number: signal.Signals
) -> None:
    shots = [shot(seed=seed, steps=40) for seed in range(200)]
    farm.leases.append(lease(*shots, pass_size=1))
    with tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: in_pass(farm))

        assert ended_well(node, number)
        begun = {report.shot_id for report in farm.reports}
        assert begun == {one.id for one in shots[: len(begun)]}
        assert 0 < len(begun) < len(shots)
        assert all(report.outcome == "delivered" for report in farm.reports)
        assert [close.outcome for close in farm.closes] == ["released"]


def test_while_it_uploads_it_delivers_what_it_has(farm: ScriptedFarm, start_node: NodeStarter) -> None:
    farm.refusals["put"].extend([503] * 1000)
    one = shot()
    farm.leases.append(lease(one))
    with tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.grants)
        node.process.send_signal(signal.SIGTERM)
        node.wait_until_it_says("press Ctrl-C again")
        farm.refusals["put"].clear()

        assert node.process.wait(60) == 0
        assert [(report.shot_id, report.outcome) for report in farm.reports] == [(one.id, "delivered")]
        assert [close.outcome for close in farm.closes] == ["finished"]


def test_the_second_signal_hands_back_the_running_pass(
    farm: ScriptedFarm, rendering: Node, number: signal.Signals
) -> None:
    assert ended_well(rendering, number, number)
    assert farm.reports == []
    assert [close.outcome for close in farm.closes] == ["released"]


def test_an_engine_ends_by_itself_when_its_node_is_killed_in_a_pass(rendering: Node) -> None:
    with outlived(rendering.engine) as gone:
        rendering.stop(signal.SIGKILL)

        assert gone()
