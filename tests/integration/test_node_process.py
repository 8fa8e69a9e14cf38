"""`farm-node run` as people start it: a process, a real broker, and a coordinator that answers by script."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from common.catalog import ServedCatalog, with_entry
from tests.engine_talk import shot
from tests.node_process import Node, NodeStarter, tickets
from tests.node_worker import lease
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.servers import ValkeyServer
from tests.waiting import PATIENCE_S


@pytest.fixture
def farm(valkey_server: ValkeyServer) -> ScriptedFarm:
    return ScriptedFarm(broker_url=valkey_server.url)


@contextmanager
def beating_node(farm: ScriptedFarm, start_node: NodeStarter) -> Iterator[Node]:
    """A node that has sent a heartbeat to the farm, which runs inside."""
    with running_farm(farm):
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.heartbeats)
        yield node


def test_a_node_joins_with_what_it_is_and_holds(farm: ScriptedFarm, start_node: NodeStarter) -> None:
    with running_farm(farm):
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.joins)

        join = farm.joins[0]
        assert (join.name, join.card.name, join.card.backend) == ("n1", "GTX 1070", "cpu")
        assert join.card.compute_capability is None
        assert "tiny" in join.models
        assert "tiny-both" in join.models
        assert join.missing_recipes == {"tiny-both": ("gguf",)}
        assert "tiny-gguf" not in join.models
        assert "not offered: tiny-gguf: recipe gguf needs a gguf-q8 file" in node.said
        assert "torch" in join.versions
        assert node.stop() == 0


def test_a_node_offers_what_a_newer_catalog_knows_without_joining_again(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    entries = with_entry(farm.catalog, "models", "newer", {"like": "tiny"}, source="newer")
    with beating_node(farm, start_node) as node:
        assert "newer" not in farm.joins[0].models
        farm.publish(ServedCatalog(version="2", **dict(entries)))
        farm.wait_for(lambda: farm.holdings)

        assert {"newer", "tiny"} <= set(farm.holdings[0].models)
        beats = len(farm.heartbeats)
        farm.wait_for(lambda: len(farm.heartbeats) > beats + 2)
        assert (len(farm.holdings), len(farm.joins)) == (1, 1)
        assert node.stop() == 0


def test_a_node_without_work_says_what_it_measures_and_a_restart_only_repeats_it_to_the_farm(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    def paces() -> dict[str, float]:
        told = [pace for message in farm.measurements for pace in message.paces]
        return {f"{pace.model} {pace.recipe}": pace.seconds for pace in told}

    with running_farm(farm):
        node = start_node(farm.url, "--measure", "60")
        farm.wait_for(lambda: "tiny fp32" in paces())
        assert "measuring" in " ".join(beat.doing for beat in farm.heartbeats)
        node.wait_until_it_says("measured tiny by fp32: ")
        assert node.stop() == 0

        first = paces()["tiny fp32"]
        farm.measurements.clear()
        node = start_node(farm.url, "--measure", "0")
        farm.wait_for(lambda: "tiny fp32" in paces())
        assert paces()["tiny fp32"] == first
        assert node.stop() == 0
        assert "measured tiny by" not in node.said


@pytest.mark.parametrize("lost", [[], [503, 502]], ids=["at once", "after lost answers"])
def test_a_ticket_becomes_a_claim_and_its_lease_pictures(
    farm: ScriptedFarm, start_node: NodeStarter, lost: list[int]
) -> None:
    one = shot()
    farm.leases.append(lease(one))
    farm.refusals["claims"].extend(lost)
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.closes)

        assert [claim.ticket for claim in farm.claims] == ["ticket-1"]
        assert [report.shot_id for report in farm.reports] == [one.id]
        assert len(farm.stored) == 1
        assert node.stop() == 0


def test_why_there_is_no_work_is_said_once_until_it_changes(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        for number in range(3):
            publish(f"ticket-{number}")
        farm.wait_for(lambda: len(farm.claims) == 3)
        node.wait_until_it_says("no work: the script has no work")
        farm.why_nothing = "the node lacks every model"
        publish("ticket-3")
        node.wait_until_it_says("no work: the node lacks every model")

        assert node.said.count("no work: the script") == 1
        assert node.stop() == 0


def test_a_node_whose_incarnation_is_over_joins_again_and_works_on(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    one = shot()
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.heartbeats)
        before = len(farm.joins)
        farm.refusals["heartbeats"].append(410)
        farm.wait_for(lambda: len(farm.joins) > before)
        farm.leases.append(lease(one))
        # The ended intake may swallow a ticket; the farm puts lost ones out again, and so does this.
        numbers = itertools.count()
        farm.wait_for(lambda: farm.closes or publish(f"ticket-{next(numbers)}"))

        assert all(claim.incarnation > before for claim in farm.claims)
        assert [report.shot_id for report in farm.reports] == [one.id]
        assert node.stop() == 0


def test_a_node_that_hears_at_once_that_its_incarnation_is_over_joins_again(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    farm.heartbeat_s = 0.001
    for call in ("heartbeats", "listens"):
        farm.refusals[call].extend([410] * 30)
    with running_farm(farm):
        node = start_node(farm.url)
        farm.wait_for(lambda: len(farm.joins) > 30)

        assert node.stop() == 0


def test_a_node_whose_broker_refuses_it_rests_before_it_joins_again(
    own_valkey: ValkeyServer, start_node: NodeStarter
) -> None:
    farm = ScriptedFarm(broker_url=own_valkey.url)
    with (
        running_farm(farm),
        tickets(farm.broker_url) as publish,
        redis.Redis.from_url(own_valkey.url) as broker,
    ):
        node = start_node(farm.url)
        farm.wait_for(lambda: farm.joins)
        # A replica takes no tickets off its queues.
        broker.replicaof("127.0.0.1", "1")
        farm.wait_for(lambda: len(farm.joins) > 1)
        assert node.said.count("rejoining") >= len(farm.joins) - 1

        broker.replicaof("NO", "ONE")
        farm.leases.append(lease(shot()))
        numbers = itertools.count()
        farm.wait_for(lambda: farm.closes or publish(f"ticket-{next(numbers)}"))
        assert "Traceback" not in node.said
        assert node.stop() == 0


def test_a_node_says_whether_the_same_process_has_joined_before(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    with beating_node(farm, start_node) as node:
        first, before = farm.joins[-1], len(farm.joins)
        farm.refusals["heartbeats"].append(410)
        farm.wait_for(lambda: len(farm.joins) > before)
        again = farm.joins[-1]
        assert node.stop() == 0
        before = len(farm.joins)
        node = start_node(farm.url)
        farm.wait_for(lambda: len(farm.joins) > before)
        fresh = farm.joins[-1]
        assert node.stop() == 0

    assert (first.again, again.again, fresh.again) == (False, True, False)
    assert first.process == again.process
    assert first.process != fresh.process


def test_a_node_whose_name_another_has_taken_ends_with_a_sentence(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    with beating_node(farm, start_node) as node:
        farm.refusals["joins"].append(409)
        farm.refusals["heartbeats"].append(410)

        assert node.process.wait(PATIENCE_S) == 1
        assert "the script says 409" in node.said
        assert "Traceback" not in node.said


def test_a_node_waits_for_a_farm_that_is_away_and_says_so(
    farm: ScriptedFarm, start_node: NodeStarter
) -> None:
    with running_farm(farm):
        url = farm.url
    node = start_node(url)
    node.wait_until_it_says("does not answer")

    with running_farm(farm, port=int(url.rpartition(":")[2])):
        farm.wait_for(lambda: farm.joins)
        assert node.said.count("does not answer") == 1
        assert node.stop() == 0


def test_work_goes_on_when_the_broker_comes_back(own_valkey: ValkeyServer, start_node: NodeStarter) -> None:
    farm = ScriptedFarm(broker_url=own_valkey.url)
    with running_farm(farm), tickets(farm.broker_url) as publish:
        node = start_node(farm.url)
        publish("ticket-1")
        farm.wait_for(lambda: farm.claims)
        own_valkey.kill()
        own_valkey.start()
        farm.leases.append(lease(shot()))
        publish("ticket-2")
        farm.wait_for(lambda: farm.closes)

        assert len(farm.reports) == 1
        assert node.stop() == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_node_with_a_sentence(
    farm: ScriptedFarm, start_node: NodeStarter, status: int
) -> None:
    # It proves once more who it is after a 401: another coordinator may lead meanwhile.
    farm.refusals["access"] += [status] * 2
    with running_farm(farm):
        node = start_node(farm.url)

        assert node.process.wait(PATIENCE_S) == 1
        assert f"the script says {status}" in node.said
        assert "Traceback" not in node.said
