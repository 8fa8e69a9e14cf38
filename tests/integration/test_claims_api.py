"""The API over real HTTP: keys, errors, tickets, claims and leases."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from common.errors import Invalid
from common.keys import TicketSigner
from common.messages import PROTOCOL, PROTOCOL_HEADER, VERSION_HEADER, Beat, Claim, Report
from common.settings import Keys, Settings
from common.views import Submit
from coordinator.service import check_settings
from tests.farm import DEADLINE_S, KEYS, MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm, until
from tests.servers import ValkeyServer

SIGNER = TicketSigner("ticket-key")


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path, own_valkey.url) as running:
        yield running


@pytest.fixture(scope="module")
def quiet_farm(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer
) -> Iterator[RunningFarm]:
    """One farm for all tests that leave no trace in it."""
    with running_farm(tmp_path_factory.mktemp("quiet"), valkey_server.url) as running:
        yield running


@pytest.fixture(scope="module")
def quiet_operator(quiet_farm: RunningFarm) -> Iterator[httpx.Client]:
    with quiet_farm.client("operator") as client:
        yield client


@pytest.fixture
def operator(farm: RunningFarm) -> Iterator[httpx.Client]:
    with farm.client("operator") as client:
        yield client


@pytest.fixture
def node(farm: RunningFarm) -> Iterator[ScriptedNode]:
    node = ScriptedNode(farm)
    yield node
    node.leave()


def submit(operator: httpx.Client, manifest: str = MANIFEST) -> str:
    answer = operator.post("/v1/jobs", json=Submit(manifest=manifest).model_dump())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def parked(operator: httpx.Client) -> bool:
    return bool(operator.get("/v1/nodes").json()[0]["parked"])


def refused(answer: httpx.Response, status: int) -> str:
    """The sentence of an error, checked for its form."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "exit_code"}
    assert body["error"]
    assert "Traceback" not in body["error"]
    return str(body["error"])


# Keys


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic b3A6b3A="}]
)
def test_a_call_without_a_known_key_is_refused(quiet_farm: RunningFarm, headers: dict[str, str]):
    for path in ("/v1/jobs", "/v1/nodes", "/v1/status", "/metrics"):
        refused(httpx.get(quiet_farm.url + path, headers=headers, trust_env=False), 401)


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        ("node", "GET", "/v1/jobs"),
        ("node", "GET", "/v1/deliveries/x"),
        ("operator", "POST", "/v1/claims"),
        ("ingest", "POST", "/v1/nodes"),
        ("ingest", "GET", "/v1/status"),
    ],
)
def test_a_key_opens_its_own_doors_only(quiet_farm: RunningFarm, role: str, method: str, path: str):
    with quiet_farm.client(role) as client:
        assert "key" in refused(client.request(method, path, json={}), 403)


def test_health_needs_no_key(quiet_farm: RunningFarm):
    assert httpx.get(f"{quiet_farm.url}/healthz", trust_env=False).json() == {"status": "ok"}


def test_without_keys_the_farm_listens_on_this_machine_only():
    open_farm = Settings(broker_url="redis://x", keys=Keys(), listen="0.0.0.0")
    with pytest.raises(Invalid, match="FARM_KEYS__OPERATOR"):
        check_settings(open_farm)
    check_settings(open_farm.model_copy(update={"listen": "127.0.0.1"}))
    check_settings(open_farm.model_copy(update={"keys": KEYS}))


# Errors


def test_every_mistake_is_answered_with_one_json_sentence(quiet_operator: httpx.Client):
    refused(quiet_operator.get("/v1/nothing"), 404)
    refused(quiet_operator.get("/v1/jobs/none"), 404)
    refused(quiet_operator.delete("/v1/jobs"), 405)
    refused(quiet_operator.post("/v1/jobs", content=b"{not json"), 422)
    refused(
        quiet_operator.post("/v1/jobs", content=b"\xff\xfe", headers={"content-type": "application/json"}),
        422,
    )
    assert "promt" in refused(quiet_operator.post("/v1/jobs", json={"manifest": MANIFEST, "promt": 1}), 422)
    refused(quiet_operator.get("/v1/jobs/x/images?limit=0"), 422)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(quiet_farm: RunningFarm):
    host, port = quiet_farm.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line:
        line.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: farm\r\nContent-Length: 1099511627776\r\n\r\n")
        assert line.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_hides_its_length_is_refused(quiet_operator: httpx.Client):
    refused(quiet_operator.post("/v1/jobs", content=iter([b"{}"])), 411)


def test_a_wrong_manifest_is_answered_with_all_its_problems(quiet_operator: httpx.Client):
    wrong = MANIFEST.replace("model: tiny", "modle: tiny").replace("seeds: 2", "seeds: many")
    sentence = refused(quiet_operator.post("/v1/jobs", json={"manifest": wrong, "source": "mugs.yaml"}), 422)
    assert "mugs.yaml:6" in sentence
    assert "mugs.yaml:9" in sentence


def test_a_manifest_that_makes_another_number_than_planned_is_refused(quiet_operator: httpx.Client):
    sentence = refused(quiet_operator.post("/v1/jobs", json={"manifest": MANIFEST, "expected": 5}), 409)
    assert "4 images" in sentence
    assert quiet_operator.get("/v1/jobs").json() == []


def test_a_model_without_identity_is_not_submitted(quiet_operator: httpx.Client):
    sentence = refused(
        quiet_operator.post("/v1/jobs", json={"manifest": MANIFEST.replace("tiny", "z-image-turbo")}), 422
    )
    assert "z-image-turbo can be planned but not submitted" in sentence


def test_a_manifest_over_its_budget_is_refused_before_anything_is_stored(quiet_operator: httpx.Client):
    answer = quiet_operator.post("/v1/jobs", json={"manifest": MANIFEST + "limits: {max_cost: 0.000001}\n"})
    refused(answer, 422)
    assert answer.json()["exit_code"] == 4
    assert quiet_operator.get("/v1/jobs").json() == []


# Jobs


def test_a_submitted_job_tells_what_is_new_and_what_another_job_wants_too(operator: httpx.Client):
    first = operator.post("/v1/jobs", json={"manifest": MANIFEST}).json()
    second = operator.post("/v1/jobs", json={"manifest": MANIFEST, "name": "again"}).json()
    assert (first["name"], first["images"], first["new"], first["reused"]) == ("mugs", 4, 4, 0)
    assert (second["name"], second["images"], second["new"], second["reused"]) == ("again", 4, 0, 4)
    assert [job["id"] for job in operator.get("/v1/jobs").json()] == [second["id"], first["id"]]


def test_images_come_in_pages_in_the_manifests_order(operator: httpx.Client):
    job = submit(operator)
    first = operator.get(f"/v1/jobs/{job}/images", params={"limit": 3}).json()
    rest = operator.get(f"/v1/jobs/{job}/images", params={"limit": 3, "after": first["next"]}).json()
    names = [image["name"] for image in first["images"] + rest["images"]]
    assert names == ["red-0", "red-1", "blue-0", "blue-1"]
    assert rest["next"] is None


def test_intents_act_at_once_and_a_cancelled_job_is_not_resumed(operator: httpx.Client):
    job = submit(operator)
    assert operator.post(f"/v1/jobs/{job}/pause").json()["status"] == "paused"
    assert operator.post(f"/v1/jobs/{job}/resume").json()["intent"] == "active"
    assert operator.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    refused(operator.post(f"/v1/jobs/{job}/resume"), 409)


def test_a_cancelled_job_goes_on_when_it_is_requeued(operator: httpx.Client):
    job = submit(operator)
    operator.post(f"/v1/jobs/{job}/cancel")
    assert operator.post(f"/v1/jobs/{job}/requeue").json()["counts"] == {"waiting": 4}


def test_failed_shots_can_be_accepted(operator: httpx.Client, node: ScriptedNode):
    job = submit(operator)
    while operator.get(f"/v1/jobs/{job}").json()["counts"] != {"failed": 4}:
        lease = node.lease()
        for shot in lease.shots:
            failed = Report(token=lease.token, shot_id=shot.id, outcome="failed", failure="invalid_spec")
            node.post(f"/v1/batches/{lease.batch_id}/reports", failed)
        node.close(lease)
        operator.post(f"/v1/jobs/{job}/resume")
    view = operator.post(f"/v1/jobs/{job}/accept").json()
    assert (view["counts"], view["status"]) == ({"accepted": 4}, "done")


def test_the_priority_of_a_job_can_be_changed(operator: httpx.Client):
    job = submit(operator)
    assert operator.post(f"/v1/jobs/{job}/priority", json={"priority": 80}).json()["priority"] == 80
    refused(operator.post(f"/v1/jobs/{job}/priority", json={"priority": 101}), 422)


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
    assert "only its owner resumes it" in refused(operator.post(f"{path}/resume", json={"by": "owner"}), 409)
    assert node.http.post(f"{path}/resume").json()["state"] == "ready"
    assert operator.post(f"{path}/pause", json={"by": "owner"}).json()["reason"] == "paused by the operator"
    assert "farm node resume" in refused(node.http.post(f"{path}/resume"), 409)


def test_the_nodes_key_governs_no_more_than_its_pause(operator: httpx.Client, node: ScriptedNode):
    path = f"/v1/nodes/{node.joined.node_id}"
    for verb in ("drain", "quarantine", "forgive"):
        refused(node.http.post(f"{path}/{verb}"), 403)
    assert operator.post(f"{path}/quarantine", json={"reason": "odd"}).json()["state"] == "quarantined"
    assert operator.post(f"{path}/forgive").json()["state"] == "ready"
    refused(operator.post("/v1/nodes/nobody/pause"), 404)


def test_a_shot_that_has_not_failed_cannot_be_accepted(operator: httpx.Client):
    job = submit(operator)
    shot_id = operator.get(f"/v1/jobs/{job}/images").json()["images"][0]["shot_id"]
    assert "waiting cannot be accepted" in refused(operator.post(f"/v1/shots/{shot_id[:12]}/accept"), 409)
    refused(operator.post("/v1/shots/none/accept"), 404)


# Claims


def test_a_ticket_becomes_a_lease_over_the_waiting_shots(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    lease = node.lease()
    assert lease.model == "tiny"
    assert {shot.spec["prompt"] for shot in lease.shots} <= {"a red mug", "a blue mug"}


def test_no_ticket_no_claim(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    for ticket in ("", "made.up.8.0123", SIGNER.issue("public", 8).text[:-1]):
        claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
        refused(node.http.post("/v1/claims", json=claim.model_dump()), 403)


@pytest.mark.parametrize(("lane", "vram_class"), [("public", 24), ("studio", 8)])
def test_a_ticket_of_another_class_or_lane_is_refused(
    operator: httpx.Client, node: ScriptedNode, lane: str, vram_class: int
):
    submit(operator)
    ticket = SIGNER.issue(lane, vram_class).text
    claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
    refused(node.http.post("/v1/claims", json=claim.model_dump()), 403)


def test_a_ticket_is_good_for_one_lease_which_it_gives_again(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    ticket = SIGNER.issue("public", 8).text
    first, again = node.claim(ticket).lease, node.claim(ticket).lease
    assert first is not None
    assert again is not None
    assert (again.batch_id, again.token) == (first.batch_id, first.token)
    node.close(first)
    claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
    refused(node.http.post("/v1/claims", json=claim.model_dump()), 409)


def test_a_waiting_claim_is_answered_when_work_appears(operator: httpx.Client, node: ScriptedNode):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(node.claim, SIGNER.issue("public", 8).text)
        until(lambda: parked(operator))
        assert not waiting.done()
        submit(operator)
        assert waiting.result(DEADLINE_S).lease is not None


def test_a_node_that_hangs_up_while_it_waits_is_given_nothing(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
):
    claim = Claim(
        node_id=node.joined.node_id,
        incarnation=node.joined.incarnation,
        ticket=SIGNER.issue("public", 8).text,
    )
    with ThreadPoolExecutor(1) as pool:
        hung_up = pool.submit(node.http.post, "/v1/claims", json=claim.model_dump(), timeout=1)
        until(lambda: parked(operator))
        with pytest.raises(httpx.ReadTimeout):
            hung_up.result(DEADLINE_S)
    until(lambda: not parked(operator))
    submit(operator)
    assert operator.get("/v1/nodes").json()[0]["batch_id"] is None
    assert node.lease().shots


def test_a_nodes_newer_claim_ends_its_older_one(tmp_path: Path, own_valkey: ValkeyServer):
    patient = QUICK.model_copy(update={"claim_wait_s": 2 * DEADLINE_S})
    with (
        running_farm(tmp_path, own_valkey.url, timing=patient) as farm,
        farm.client() as operator,
        ThreadPoolExecutor(2) as pool,
    ):
        node = ScriptedNode(farm)
        older = pool.submit(node.claim, SIGNER.issue("public", 8).text, wait_s=2 * DEADLINE_S)
        until(lambda: parked(operator))
        newer = pool.submit(node.claim, SIGNER.issue("public", 8).text, wait_s=2 * DEADLINE_S)
        assert older.result(DEADLINE_S / 2).lease is None
        assert parked(operator)
        submit(operator)
        lease = newer.result(DEADLINE_S).lease
        assert lease is not None
        node.close(lease)
        node.leave()


def test_a_claim_that_waited_in_vain_says_why(node: ScriptedNode):
    answer = node.claim(SIGNER.issue("public", 8).text, wait_s=0.2)
    assert answer.lease is None
    assert answer.nothing is not None
    assert answer.nothing.reason


def test_an_older_incarnation_is_gone(farm: RunningFarm, operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    lease = node.lease()
    ScriptedNode(farm, name="node-1").leave()
    beat = Beat(incarnation=node.joined.incarnation, batch_id=lease.batch_id, token=lease.token)
    refused(node.http.post(f"/v1/nodes/{node.joined.node_id}/beats", json=beat.model_dump()), 410)
    claim = Claim(
        node_id=node.joined.node_id,
        incarnation=node.joined.incarnation,
        ticket=SIGNER.issue("public", 8).text,
    )
    refused(node.http.post("/v1/claims", json=claim.model_dump()), 410)


def test_heartbeats_of_many_nodes_are_each_answered_rightly(farm: RunningFarm):
    nodes = [ScriptedNode(farm, name=f"node-{number}") for number in range(8)]

    def beat(number: int) -> int:
        node = nodes[number]
        incarnation = node.joined.incarnation + (number % 2)
        message = Beat(incarnation=incarnation, watts=float(number))
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
    beat = Beat(incarnation=node.joined.incarnation).model_dump()
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
    with quiet_farm.client("node") as client:
        for path in ("/v1/nodes", "/v1/claims", "/v1/nodes/n1/beats", "/v1/nodes/n1/orders"):
            said = refused(client.post(path, json={"of": "another version"}, headers=headers), 409)
            assert f"shotfarm {node} (protocol {protocol})" in said
            assert f"install shotfarm=={ours}" in said


def test_a_farm_without_a_ticket_key_lets_nodes_into_the_broker_after_a_restart(
    tmp_path: Path, own_valkey: ValkeyServer
):
    keys = KEYS.model_copy(update={"ticket": Keys().ticket})
    urls = set()
    for _ in range(2):
        with running_farm(tmp_path, own_valkey.url, keys=keys) as farm:
            node = ScriptedNode(farm)
            urls.add(node.joined.broker_url)
            node.leave()
    assert len(urls) == 1
    assert (tmp_path / "ticket-key").stat().st_mode & 0o077 == 0


# The broker's absence


def test_with_the_broker_away_nothing_is_claimed_and_after_its_return_work_goes_on(
    farm: RunningFarm, own_valkey: ValkeyServer, operator: httpx.Client, node: ScriptedNode
):
    own_valkey.kill()
    job = submit(operator)
    status = operator.get("/v1/status").json()
    assert "does not answer" in status["broker"]
    assert operator.get(f"/v1/jobs/{job}").json()["counts"] == {"waiting": 4}
    own_valkey.start()
    lease = node.lease()
    assert lease.shots
    assert operator.get("/v1/status").json()["broker"] == "up"


def test_an_idle_farm_publishes_no_tickets(farm: RunningFarm, operator: httpx.Client, node: ScriptedNode):
    farm.farm.dispatcher.wake()
    queues = operator.get("/v1/status").json()["queues"]
    assert queues == [{"lane": "public", "vram_class": 8, "waiting": 0, "tickets": 0}]
    assert operator.get("/v1/status").json()["tickets_per_minute"] == 0
