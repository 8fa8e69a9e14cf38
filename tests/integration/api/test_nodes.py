"""Nodes: which of them are heard, and who governs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from common.catalog import Catalog
from common.errors import FarmError
from common.keys import TicketSigner
from common.messages import PROTOCOL, PROTOCOL_HEADER, VERSION_HEADER, Claim, Heartbeat
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.doctor import examine
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.probe import CpuProbe
from tests.farm import DEADLINE_S, RunningFarm, ScriptedNode, running_farm
from tests.integration.api.calls import refused, submit
from tests.scrape import refusals
from tests.servers import ValkeyServer

CARD = Path(__file__).parents[3] / "manifests/cards/gtx-1070.yaml"
SIGNER = TicketSigner("ticket-key")


def test_a_drained_node_gets_nothing_until_it_is_resumed(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    node_id = node.joined.node_id
    assert operator.post(f"/v1/nodes/{node_id}/drain").json()["state"] == "offline"
    assert node.claim(SIGNER.issue("public", 8).text, wait_s=0.1).lease is None
    assert operator.post(f"/v1/nodes/{node_id}/resume").json()["state"] == "ready"
    assert node.lease().shots


def test_a_pause_with_the_nodes_key_is_its_owners(operator: httpx.Client, node: ScriptedNode):
    path = f"/v1/nodes/{node.joined.node_id}"
    paused = node.http.post(f"{path}/pause", json={"reason": "a game"}).json()
    assert (paused["state"], paused["reason"]) == ("paused", "paused by its owner: a game")
    assert "only its owner can resume it" in refused(
        operator.post(f"{path}/resume", json={"by": "owner"}), 409
    )
    assert node.http.post(f"{path}/resume").json()["state"] == "ready"
    assert operator.post(f"{path}/pause", json={"by": "owner"}).json()["reason"] == "paused by the operator"
    assert "farm node resume" in refused(node.http.post(f"{path}/resume"), 409)


def test_the_nodes_key_governs_no_more_than_its_pause(operator: httpx.Client, node: ScriptedNode):
    path = f"/v1/nodes/{node.joined.node_id}"
    for verb in ("drain", "quarantine", "forgive", "forget"):
        refused(node.http.post(f"{path}/{verb}"), 403)
    assert operator.post(f"{path}/quarantine", json={"reason": "odd"}).json()["state"] == "quarantined"
    assert operator.post(f"{path}/forgive").json()["state"] == "ready"
    refused(operator.post("/v1/nodes/nobody/pause"), 404)


def test_an_older_incarnation_is_gone(farm: RunningFarm, operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    lease = node.lease()
    ScriptedNode(farm, name="node-1").leave()
    beat = Heartbeat(incarnation=node.joined.incarnation, batch_id=lease.batch_id, token=lease.token)
    claim = Claim(
        node_id=node.joined.node_id,
        incarnation=node.joined.incarnation,
        ticket=SIGNER.issue("public", 8).text,
    )
    with refusals(farm, over=2):
        refused(node.http.post(f"/v1/nodes/{node.joined.node_id}/beats", json=beat.model_dump()), 410)
        refused(node.http.post("/v1/claims", json=claim.model_dump()), 410)


def test_what_an_idle_node_measured_is_listed_with_the_time_of_an_image(
    operator: httpx.Client, node: ScriptedNode
):
    path = f"/v1/nodes/{node.joined.node_id}/measurements"
    # Near enough to the time that the catalog has for the CPU.
    pace = {"model": "tiny", "recipe": "fp32", "seconds": 0.25, "peak_bytes": 1 << 20}
    told = {"incarnation": node.joined.incarnation, "paces": [pace, {**pace, "recipe": "int8"}]}
    assert node.http.post(path, json=told).json()["state"] == "ready"

    peak, timed = operator.get("/v1/memory").json()
    # Nine steps of 128×128 with two runs each.
    assert timed["image_s"] == pytest.approx(0.25 * 128 * 128 / 1e6 * 9 * 2)
    assert (timed["recipe"], timed["width"], peak["peak_bytes"]) == ("fp32", 128, 1 << 20)
    refused(node.http.post(path, json={**told, "incarnation": 99}), 410)
    refused(node.http.post(path, json={**told, "paces": [{**pace, "seconds": 0}]}), 422)


def test_heartbeats_of_many_nodes_are_each_answered_rightly(farm: RunningFarm):
    nodes = [ScriptedNode(farm, name=f"node-{number}") for number in range(8)]

    def beat(number: int) -> int:
        node = nodes[number]
        incarnation = node.joined.incarnation + (number % 2)
        message = Heartbeat(incarnation=incarnation, watts=float(number))
        return node.http.post(f"/v1/nodes/{node.joined.node_id}/beats", json=message.model_dump()).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(beat, range(8))) == [200, 410] * 4
    with farm.client() as operator:
        watts = {node["name"]: node["watts"] for node in operator.get("/v1/nodes").json()}
    assert watts == {f"node-{n}": (float(n) if n % 2 == 0 else None) for n in range(8)}
    for node in nodes:
        node.leave()


def test_a_coordinator_that_was_replaced_ends_and_its_successor_goes_on(
    farm: RunningFarm, own_valkey: ValkeyServer, node: ScriptedNode
):
    beat = Heartbeat(incarnation=node.joined.incarnation).model_dump()
    path = f"/v1/nodes/{node.joined.node_id}/beats"
    with running_farm(farm.settings.home, own_valkey.url) as successor:
        farm.thread.join(DEADLINE_S)
        assert not farm.thread.is_alive()
        with successor.client("node") as client:
            assert client.post(path, json=beat).json()["order"] == "go on"


@pytest.mark.parametrize(("node", "protocol"), [("0.0.9", PROTOCOL - 1), ("9.0.0", PROTOCOL + 1)])
def test_a_node_of_another_version_is_told_which_to_install_before_its_message_is_read(
    quiet_farm: RunningFarm, node: str, protocol: int
):
    ours = version("shotfarm")
    headers = {VERSION_HEADER: node, PROTOCOL_HEADER: str(protocol)}
    with quiet_farm.client("node") as client, refusals(quiet_farm, version=4):
        for path in ("/v1/nodes", "/v1/claims", "/v1/nodes/n1/beats", "/v1/nodes/n1/orders"):
            said = refused(client.post(path, json={"of": "another version"}, headers=headers), 409)
            assert f"shotfarm {node} (protocol {protocol})" in said
            assert f"install shotfarm=={ours}" in said


def test_a_machine_learns_what_to_connect_to_before_it_joins(
    farm: RunningFarm, own_valkey: ValkeyServer, tmp_path: Path
):
    with Coordinator(farm.url, "node-key") as coordinator:
        there = coordinator.addresses()
        assert there.broker == f"127.0.0.1:{own_valkey.port}"
        library = Library(Catalog(models={}, loras={}), (), Hashes(tmp_path / "hashes.json"))
        found = list(examine(lambda: CpuProbe(CARD), library, coordinator, home=tmp_path))
        assert [one.good for one in found if one.subject == "farm"] == [True, True, True]
        own_valkey.stop()
        found = list(examine(lambda: CpuProbe(CARD), library, coordinator, home=tmp_path))
        assert [one.good for one in found if one.subject == "farm"] == [True, False, True]
    with Coordinator(farm.url, "wrong-key") as coordinator, pytest.raises(FarmError):
        coordinator.addresses()
