"""Nodes: which of them are heard, and who governs them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from common.catalog import Catalog
from common.errors import FarmError, Forbidden
from common.invitations import read_invitation
from common.keys import TicketSigner
from common.messages import (
    PROTOCOL,
    PROTOCOL_HEADER,
    VERSION_HEADER,
    Claim,
    Heartbeat,
    Join,
    Lease,
    Listen,
)
from common.node_keys import NodeKey
from coordinator.embedded.ready import has_joined
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.credentials import Credentials, kept_identity, read_identity
from gpu_node.doctor import examine
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.probe import CpuProbe
from tests.farm import (
    DEADLINE_S,
    MANIFEST,
    RunningFarm,
    ScriptedNode,
    access,
    card,
    key_of,
    running_farm,
    until,
)
from tests.integration.api.calls import refused, submit
from tests.scrape import refusals
from tests.servers import ValkeyServer

CARD = Path(__file__).parents[3] / "manifests/cards/gtx-1070.yaml"
SIGNER = TicketSigner("ticket-key")


def test_a_drained_node_gets_nothing_until_it_is_resumed(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
):
    submit(operator)
    node_id = node.joined.node_id
    assert operator.post(f"/v1/nodes/{node_id}/drain").json()["state"] == "offline"
    assert has_joined(node_id, farm.settings), "`farm up` waits for no drained node"
    assert node.claim(SIGNER.issue("public", 8).text, wait_s=0.1).lease is None
    assert operator.post(f"/v1/nodes/{node_id}/resume").json()["state"] == "ready"
    assert has_joined(node_id, farm.settings)
    assert node.lease().shots


def test_a_pause_by_the_node_is_its_owners(operator: httpx.Client, node: ScriptedNode):
    path = f"/v1/nodes/{node.joined.node_id}"
    paused = node.http.post(f"{path}/pause", json={"reason": "a game"}).json()
    assert (paused["state"], paused["reason"]) == ("paused", "paused by its owner: a game")
    assert "only its owner can resume it" in refused(
        operator.post(f"{path}/resume", json={"by": "owner"}), 409
    )
    assert node.http.post(f"{path}/resume").json()["state"] == "ready"
    assert operator.post(f"{path}/pause", json={"by": "owner"}).json()["reason"] == "paused by the operator"
    assert "farm node resume" in refused(node.http.post(f"{path}/resume"), 409)


def test_a_node_governs_no_more_than_its_pause(operator: httpx.Client, node: ScriptedNode):
    path = f"/v1/nodes/{node.joined.node_id}"
    for verb in ("drain", "quarantine", "forgive", "vouch", "disavow", "forget"):
        refused(node.http.post(f"{path}/{verb}"), 403)
    assert operator.post(f"{path}/quarantine", json={"reason": "odd"}).json()["state"] == "quarantined"
    assert operator.post(f"{path}/forgive").json()["state"] == "ready"
    refused(operator.post("/v1/nodes/nobody/pause"), 404)


#: Of victims: each test has one of its own.
NUMBERS = count()
ATTACKS = {
    "POST /v1/nodes/{b}/beats": {"incarnation": 1},
    "POST /v1/nodes/{b}/orders": {"incarnation": 1, "wait_s": 0},
    "POST /v1/nodes/{b}/holdings": {"incarnation": 1},
    "POST /v1/nodes/{b}/measurements": {"incarnation": 1, "paces": []},
    "POST /v1/nodes/{b}/leave": {"incarnation": 1},
    "POST /v1/nodes/{b}/pause": {},
    "POST /v1/nodes/{b}/resume": {},
    "POST /v1/nodes/{b}/key": {"public_key": "0" * 64, "signature": "0" * 128},
    "DELETE /v1/nodes/{b}/key": None,
}


def attacks(b: ScriptedNode, lease: Lease) -> Iterator[tuple[str, str, Any]]:
    """Calls by which somebody else would act as node `b`, or on its batch."""
    name, token, batch = b.joined.node_id, lease.token, f"/v1/batches/{lease.batch_id}"
    for call, body in ATTACKS.items():
        method, path = call.split()
        yield method, path.format(b=name), body
    yield "POST", "/v1/nodes", Join(name=name, card=card(8)).model_dump(mode="json")
    claim = Claim(node_id=name, incarnation=1, ticket=SIGNER.issue("hidden", 8).text, wait_s=0)
    yield "POST", "/v1/claims", claim.model_dump()
    shot = {"token": token, "shot_id": lease.shots[0].id}
    wish = shot | {"sha256": "0" * 64, "size": 5, "content_type": "image/png"}
    failed = shot | {"outcome": "failed", "failure": "invalid_spec"}
    yield "POST", f"{batch}/grants", wish
    yield "POST", f"{batch}/pass/grants", {"requests": [wish]}
    yield "POST", f"{batch}/reports", failed
    yield "POST", f"{batch}/pass/reports", {"reports": [failed]}
    yield "POST", f"{batch}/embeddings", {"token": token, "encoding": "0" * 64}
    yield "POST", f"{batch}/embeddings/reports", {"token": token, "encoding": "0" * 64}
    yield "POST", f"{batch}/close", {"token": token, "outcome": "failed"}


@pytest.fixture
def hidden(quiet_farm: RunningFarm, quiet_operator: httpx.Client) -> Iterator[tuple[ScriptedNode, Lease]]:
    """A node of a lane that nobody else serves, and its lease."""
    name = f"victim-{next(NUMBERS)}"
    manifest = MANIFEST.replace("} mug", f"}} mug of {name}")
    job = submit(quiet_operator, f"{manifest}\nlane: hidden\n")
    with ScriptedNode(quiet_farm, name=name, lanes=("hidden",)) as node:
        yield node, node.lease()
    quiet_operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()


def test_whoever_has_the_node_key_or_is_another_node_cannot_act_as_a_node(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client, hidden: tuple[ScriptedNode, Lease]
):
    victim, lease = hidden
    name = victim.joined.node_id
    with quiet_farm.as_node("attacker") as attacker, quiet_farm.client("node") as stranger:
        for method, path, body in attacks(victim, lease):
            said = refused(attacker.request(method, path, json=body), 403)
            assert "node attacker" in said, path
            assert f"cannot act as node {name}" in said or f"is leased to node {name}, not to" in said, path
            assert "the node key does not allow this" in refused(
                stranger.request(method, path, json=body), 403
            )
        stolen = {"incarnation": 1, "batch_id": lease.batch_id, "token": lease.token}
        for call in ("beats", "orders"):
            said = refused(attacker.post(f"/v1/nodes/attacker/{call}", json=stolen), 403)
            assert f"is leased to node {name}, not to node attacker" in said
    for another, key in ((name, key_of("attacker")), ("attacker", key_of(name))):
        with pytest.raises(httpx.HTTPStatusError) as caught:
            access(quiet_farm.url, another, key)
        assert "this key is that of node" in caught.value.response.json()["detail"]
    with pytest.raises(httpx.HTTPStatusError) as caught:
        access(quiet_farm.url, name, key_of("a new key"))
    assert f"node {name} has another key, and lives" in caught.value.response.json()["detail"]
    (view,) = (node for node in quiet_operator.get("/v1/nodes").json() if node["name"] == name)
    assert (view["state"], view["batch_id"]) == ("busy", lease.batch_id)
    victim.deliver(lease, lease.shots[0])


def test_a_revoked_node_is_out_at_once_with_its_lease_its_token_and_its_tickets(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client, hidden: tuple[ScriptedNode, Lease]
):
    victim, lease = hidden
    name = victim.joined.node_id
    listen = Listen(incarnation=victim.joined.incarnation, batch_id=lease.batch_id, token=lease.token)
    with ThreadPoolExecutor(1) as pool:
        orders = pool.submit(victim.post, f"/v1/nodes/{name}/orders", listen)
        until(lambda: name in quiet_farm.farm.orders.callers())
        revoked = quiet_operator.post(f"/v1/nodes/{name}/revoke", json={"reason": "stolen"})
        assert revoked.raise_for_status().json()["state"] == "revoked"
        # Long before its call would have ended by itself.
        assert orders.result(listen.wait_s / 2).json()["order"] == "stop"
    for method, path, body in attacks(victim, lease):
        refused(victim.http.request(method, path, json=body), 401)
    with pytest.raises(redis.RedisError), redis.Redis.from_url(victim.joined.broker_url) as broker:
        broker.llen(victim.joined.queues[0])
    for another in (name, "renamed"):
        with pytest.raises(httpx.HTTPStatusError) as caught:
            access(quiet_farm.url, another, key_of(name))
        assert f"{name} was revoked by the operator of the farm" in caught.value.response.json()["detail"]
    assert quiet_operator.post(f"/v1/nodes/{name}/remove").json()["state"] == "removed"
    assert name not in {node["name"] for node in quiet_operator.get("/v1/nodes").json()}


def test_an_invited_node_is_what_the_operator_said(quiet_farm: RunningFarm, quiet_operator: httpx.Client):
    new = {"name": "attic", "owner": "ana", "lanes": ["public"], "terms": "volunteer"}
    issued = quiet_operator.post("/v1/invitations", json=new)
    invitation = read_invitation(issued.raise_for_status().json()["text"])
    assert (invitation.farm, invitation.name) == (quiet_farm.url, "attic")
    token = access(quiet_farm.url, "attic", secret=invitation.secret).token
    join = Join(name="attic", card=card(8), lanes=("hidden",), owner="rival", terms="rented")
    with quiet_farm.bearing(token) as client:
        joined = client.post("/v1/nodes", json=join.model_dump(mode="json")).json()
    # With tickets it could take all of its queue: it parks.
    assert (joined["queues"], joined["broker_url"]) == ([], "")
    assert "owner, lanes, terms of this node: as its invitation says" in joined["note"]
    with pytest.raises(httpx.HTTPStatusError) as caught:
        access(quiet_farm.url, "attic", key_of("another"), invitation.secret)
    assert caught.value.response.json()["detail"].startswith("this invitation has been used")
    with pytest.raises(httpx.HTTPStatusError) as caught:
        access(quiet_farm.url, "stranger", secret=None)
    assert "does not know the key of node stranger" in caught.value.response.json()["detail"]
    (entry, *_) = quiet_operator.get("/v1/audit", params={"subject": "attic"}).json()["entries"]
    assert (entry["action"], entry["by"]) == ("invitation create", "operator")
    assert invitation.secret not in str(entry)
    owned = Join(name="lanes", card=card(8), lanes=("secret-client",)).model_dump(mode="json")
    with quiet_farm.as_node("lanes") as client:
        assert "lane secret-client is not among" in refused(client.post("/v1/nodes", json=owned), 403)


def test_a_node_goes_on_with_its_next_key_and_after_its_tokens_ended(quiet_farm: RunningFarm, tmp_path: Path):
    kept_identity(tmp_path, "turning", quiet_farm.url)
    credentials = Credentials(tmp_path, quiet_farm.url, "node-key")
    with Coordinator(quiet_farm.url, credentials=credentials) as node:
        node.join(Join(name="turning", card=card(8)))
        old = read_identity(tmp_path)
        assert old is not None
        node.rotate_key("turning")
        node.pause("turning")
        # The answer to the next rotation is lost.
        node.send("POST", "/v1/nodes/turning/key", credentials.rotation())
        node.resume("turning")
        quiet_farm.farm.node_access.forget("turning")
        node.pause("turning")
        with pytest.raises(httpx.HTTPStatusError) as caught:
            access(quiet_farm.url, "turning", NodeKey(bytes.fromhex(old.key)))
        assert "was replaced by `farm-node rotate`" in caught.value.response.json()["detail"]
        node.end_key("turning")
        with pytest.raises(Forbidden, match="turning has left the farm"):
            node.pause("turning")


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
    token = node.http.headers["authorization"].removeprefix("Bearer ")
    with running_farm(farm.settings.home, own_valkey.url) as successor:
        farm.thread.join(DEADLINE_S)
        assert not farm.thread.is_alive()
        with successor.bearing(token) as client:
            assert "prove again" in refused(client.post(path, json=beat), 401)
        with successor.as_node("node-1") as client:
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
