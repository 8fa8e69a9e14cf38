"""A node that reaches one port of the farm, the gateway's, and what else it finds there: nothing."""

from __future__ import annotations

import hashlib
import re
import shlex
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from common.errors import Forbidden, Unauthorised
from common.messages import Close, GrantRequest, Heartbeat, HeartbeatAnswer, Lease, Park, Report
from coordinator.gateway import app
from coordinator.gateway.limits import CallLimits
from coordinator.http import server
from gpu_node.agent.deliver import upload_headers
from gpu_node.pinned import PinnedContext
from tests.farm import DEADLINE_S, drawn, until
from tests.gateway import FarNode, RunningGateway, running_gateway
from tests.integration.api.calls import parked, refused, submit
from tests.scrape import counted
from tests.servers import ValkeyServer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()
LIMITS = CallLimits(connections_of_address=8, calls=60)


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, valkey_server.url, LIMITS, CLOCK) as running:
        yield running


@pytest.fixture
def node(gateway: RunningGateway, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FarNode]:
    """A node that has joined by an invitation."""
    # Tests come one after the other: nothing is refilled.
    CLOCK.now += 60.0
    name = f"far-{abs(hash(request.node.name)) % 10**6}"
    far = FarNode(tmp_path, gateway.invite(name), name)
    far.join()
    yield far
    far.close()


def waiting(far: FarNode, turn: str = "0" * 32, **told: object) -> Park:
    beat = Heartbeat(incarnation=far.joined.incarnation, idle_s=0.001)
    return Park(beat=beat, turn=turn, **{"wait_s": DEADLINE_S, **told})


def deliver(far: FarNode, lease: Lease) -> None:
    """Upload and report all of a lease, then close it."""
    for shot in lease.shots:
        data = drawn(shot)
        facts = {"shot_id": shot.id, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        wish = GrantRequest(token=lease.token, content_type="image/png", **facts)
        (grant,) = far.farm.grants(lease.batch_id, [wish])
        answer = far.store.put(grant.url, content=data, headers=upload_headers(grant.headers))
        assert answer.status_code in (200, 201), answer.text
        report = Report(token=lease.token, outcome="delivered", key=grant.key, **facts)
        far.farm.report(lease.batch_id, [report])
    far.farm.close_batch(lease.batch_id, Close(token=lease.token, outcome="finished"))


def test_a_node_works_by_one_port_without_broker_and_store(gateway: RunningGateway, node: FarNode) -> None:
    assert (node.joined.broker_url, node.joined.queues) == ("", ())
    assert (node.farm.addresses().broker, node.farm.addresses().store) == ("", "")
    assert node.farm.catalog().version
    with gateway.farm.client() as operator, ThreadPoolExecutor(1) as pool:
        waited = pool.submit(node.park, waiting(node))
        until(lambda: node.joined.node_id in gateway.farm.farm.claims.callers())
        assert not gateway.farm.farm.ledger.backlog.ticket_demand(gateway.farm.farm.claims.need_no_ticket())
        job = submit(operator)
        answer = waited.result(DEADLINE_S)
        assert answer.lease is not None
        # Its answer may have been lost.
        again = node.park(waiting(node)).lease
        assert again is not None
        assert (again.batch_id, again.token) == (answer.lease.batch_id, answer.lease.token)
        lease: Lease | None = again
        turn = 1
        while lease is not None:
            deliver(node, lease)
            lease = node.park(waiting(node, f"{turn:032x}", wait_s=0.1)).lease
            turn += 1
        assert operator.get(f"/v1/jobs/{job}").json()["counts"] == {"delivered": 4}
    assert counted(gateway.farm, "farm_tickets_published") == 0


def test_orders_arrive_by_the_parked_call(gateway: RunningGateway, node: FarNode) -> None:
    name = node.joined.node_id
    with gateway.farm.client() as operator, ThreadPoolExecutor(1) as pool:
        waited = pool.submit(node.park, waiting(node))
        until(lambda: name in gateway.farm.farm.claims.callers())
        operator.post(f"/v1/nodes/{name}/pause", json={"reason": "hot"}).raise_for_status()
        paused = waited.result(DEADLINE_S)
        assert (paused.lease, paused.order.order) == (None, "pause")
        assert paused.order.catalog_version
        known = paused.order.model_copy(update={"catalog_version": ""})
        waited = pool.submit(node.park, waiting(node, known=known))
        until(lambda: name in gateway.farm.farm.claims.callers())
        operator.post(f"/v1/nodes/{name}/resume").raise_for_status()
        assert waited.result(DEADLINE_S).order.order == "go on"


def test_a_parked_node_is_there_and_a_revoked_one_is_sent_away(
    gateway: RunningGateway, node: FarNode
) -> None:
    name, farm = node.joined.node_id, gateway.farm.farm
    with gateway.farm.client() as operator, ThreadPoolExecutor(1) as pool:
        waited = pool.submit(node.park, waiting(node))
        until(lambda: name in farm.claims.parked_without_tickets())
        operator.post(f"/v1/nodes/{name}/revoke").raise_for_status()
        assert waited.result(DEADLINE_S).order.order == "drain"
    with pytest.raises(Forbidden, match="revoked"):
        node.park(waiting(node))
    # The store is asked for nothing by a token that the gateway saw two seconds ago.
    CLOCK.now += 2.1
    assert node.store.get(f"{gateway.farm.url}/v1/objects/images/x").status_code == 401


def test_who_hangs_up_is_not_parked_any_more(gateway: RunningGateway, node: FarNode) -> None:
    with (
        gateway.farm.client() as operator,
        httpx.Client(base_url=gateway.url, verify=PinnedContext(gateway.pin), headers=_bearer(node)) as http,
    ):
        path = f"/v1/nodes/{node.joined.node_id}/park"
        with pytest.raises(httpx.ReadTimeout):
            http.post(path, json=waiting(node).model_dump(mode="json"), timeout=1)
        until(lambda: node.joined.node_id not in gateway.farm.farm.claims.callers())
        assert not parked(operator)


def test_models_arrive_in_ranges(gateway: RunningGateway, node: FarNode) -> None:
    data = bytes(range(256)) * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"models/{sha256}"
    gateway.farm.farm.store.create(key, data, content_type="application/octet-stream", metadata={})
    file = node.farm.model_file(sha256)
    part = node.store.get(file.url, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, data[1000:2000])
    assert part.headers["content-length"] == "1000"
    assert node.store.get(file.url).content == data


def _bearer(node: FarNode) -> dict[str, str]:
    return {"authorization": f"Bearer {node.farm.token}"}


@pytest.fixture
def http(gateway: RunningGateway, node: FarNode) -> Iterator[httpx.Client]:
    """Any calls with the token of a node."""
    judge = PinnedContext(gateway.pin)
    with httpx.Client(base_url=gateway.url, verify=judge, headers=_bearer(node)) as client:
        yield client


def test_nothing_else_of_the_farm_is_reached(gateway: RunningGateway, http: httpx.Client) -> None:
    for path in ("/", "/v1/jobs", "/v1/nodes", "/metrics", "/docs", "/v1/status"):
        assert "calls of nodes alone" in refused(http.get(path), 404)
    for path in ("/store/v1/jobs", "/store/v1/nodes", "/store/metrics", "/store//v1/objects/x"):
        assert "presigned URLs" in refused(http.get(path), 403)
    assert http.get("/store/v1/objects/images/x").status_code == 403, "it is not signed"
    assert http.get("/healthz").is_success
    # Nobody can pass for the gateway, or for somebody else, by headers.
    forged = {"farm-gateway": "0", "x-forwarded-for": "203.0.113.9"}
    assert http.get("/v1/addresses", headers=forged).json() == {"broker": "", "store": ""}


def test_only_tokens_of_nodes_come_in(gateway: RunningGateway, http: httpx.Client) -> None:
    for offered in ("", "Bearer operator-key", "Bearer node-key", "Basic operator-key"):
        sentence = refused(http.get("/v1/addresses", headers={"authorization": offered}), 401)
        assert "access tokens of nodes" in sentence
    forged = {"authorization": "Bearer shotnode_" + "x" * 43}
    for _ in range(30):
        assert "not valid any more" in refused(http.get("/v1/addresses", headers=forged), 401)
    answer = http.get("/v1/addresses", headers=forged)
    assert "tokens of this address are not valid" in refused(answer, 429)
    assert answer.headers["retry-after"] == "2"
    assert http.get("/v1/addresses").is_success, "a valid one is not limited by them"


def test_what_joins_a_machine_is_handed_out_to_everybody(gateway: RunningGateway, node: FarNode) -> None:
    with gateway.farm.client() as operator:
        line = operator.post("/v1/invitations", json={"owner": "ana"}).json()["shell_line"]
        told = {path: operator.get(path) for path in ("/join", "/join.ps1")}
    assert all(answer.is_success for answer in told.values())
    (fetch,) = re.findall(r"\$\((curl .*) \|\| echo exit 1\)", line)
    fetched = subprocess.run(shlex.split(fetch), capture_output=True, check=True).stdout
    assert fetched == told["/join"].content
    (name,), (digest,) = (
        re.findall(rb"^package=(\S+)$", fetched, re.M),
        re.findall(rb"^sha256=(\S+)$", fetched, re.M),
    )
    with httpx.Client(base_url=gateway.url, verify=PinnedContext(gateway.pin)) as stranger:
        assert stranger.get("/join.ps1").content == told["/join.ps1"].content
        program = stranger.get(f"/join/{name.decode()}")
        assert hashlib.sha256(program.content).hexdigest() == digest.decode()
        assert program.headers["cache-control"] == "public, max-age=300"
        assert program.content == httpx.get(f"{gateway.farm.url}/join/{name.decode()}").content
        assert "this farm has the program" in refused(stranger.get("/join/shotfarm-0.0.1.whl"), 404)
        for _ in range(4):
            stranger.get("/join/other.whl")
        assert "downloads by this address" in refused(stranger.get(f"/join/{name.decode()}"), 429)
    # Another key is that of another server, which gets no script run.
    other = fetch.replace("sha256//", "sha256//AAAA")
    refusal = subprocess.run(shlex.split(other), capture_output=True, text=True, check=False)
    assert (refusal.stdout, refusal.returncode) == ("", 90)


def test_a_node_may_call_so_often(http: httpx.Client) -> None:
    answers = [http.get("/v1/addresses").status_code for _ in range(61)]
    assert answers[:40] == [200] * 40
    assert answers[-1] == 429


@pytest.fixture
def line(gateway: RunningGateway) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S)
    with PinnedContext(gateway.pin).wrap_socket(plain) as line:
        yield line


def test_bodies_are_refused_before_they_are_sent(node: FarNode, line: ssl.SSLSocket) -> None:
    path = f"/v1/nodes/{node.joined.node_id}/beats"
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {node.farm.token}\r\n"
    line.sendall(f"{head}Content-Length: 65537\r\n\r\n".encode())
    assert line.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_refused(node: FarNode, line: ssl.SSLSocket) -> None:
    line.sendall(b"POST /v1/access HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert line.recv(1000).startswith(b"HTTP/1.1 411 ")


def test_a_token_is_checked_before_the_upload(node: FarNode, line: ssl.SSLSocket) -> None:
    line.sendall(
        b"PUT /store/v1/objects/quarantine/x HTTP/1.1\r\nHost: g\r\nContent-Length: 30000000\r\n\r\nx"
    )
    assert line.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_an_endless_head_is_cut_off(node: FarNode, line: ssl.SSLSocket) -> None:
    line.sendall(b"GET /healthz HTTP/1.1\r\n")
    with pytest.raises(OSError):
        line.sendall((b"x: " + b"y" * 1000 + b"\r\n") * 10_000)


def test_a_body_that_drips_is_refused(
    node: FarNode, line: ssl.SSLSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_BODY_S", 0.3)
    path = f"/v1/nodes/{node.joined.node_id}/beats"
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {node.farm.token}\r\n"
    line.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    answer = b"".join(iter(lambda: line.recv(2000), b""))
    assert b"takes too long" in answer


def test_a_handshake_that_does_not_come_counts_and_is_given_up(
    gateway: RunningGateway, node: FarNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = ("127.0.0.1", gateway.port)
    lines = [socket.create_connection(address, timeout=DEADLINE_S) for _ in range(8)]
    # The node has a place for each of its connections already.
    assert lines[-1].recv(1) == b""
    for line in lines:
        line.close()
    until(lambda: node.farm.addresses() is not None)


def test_a_caller_that_begins_no_request_is_cut_off(
    node: FarNode, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S)
    with PinnedContext(gateway.pin).wrap_socket(plain) as line:
        line.sendall(b"GET /heal")
        assert line.recv(1) == b""


def test_a_token_that_ended_is_proved_again(gateway: RunningGateway, node: FarNode) -> None:
    gateway.farm.farm.node_access.forget(node.joined.node_id)
    # The gateway remembers it, the coordinator does not.
    answer = node.park(waiting(node, wait_s=0.1, known=HeartbeatAnswer(order="go on")))
    assert answer.nothing is not None


def test_an_invitation_that_was_made_up_lets_nobody_in(gateway: RunningGateway, tmp_path: Path) -> None:
    invitation = gateway.invite("late")._replace(secret="shotfarm_made-up")
    node = FarNode(tmp_path, invitation, "late")
    with pytest.raises((Unauthorised, Forbidden)):
        node.join()
    node.close()
