"""The coordinator and ingest as processes: how they start, refuse to start, and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from common.keys import TicketSigner
from common.messages import Claim, Join, Joined, Listen
from coordinator.embedded.ports import kept_ports
from tests.farm import DEADLINE_S, access, card, until
from tests.servers import ValkeyServer

KEYS = {"operator": "operator-key", "node": "node-key", "ingest": "ingest-key", "ticket": "ticket-key"}


def started(
    folder: Path, settings: dict[str, Any], *, program: str = "coordinator.service"
) -> subprocess.Popen[str]:
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FARM_")}
    return subprocess.Popen(
        [sys.executable, "-m", program],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({}, "FARM_BROKER_URL"),
        ({"broker_url": "redis://127.0.0.1:1/0", "listen": "0.0.0.0"}, "FARM_KEYS__OPERATOR"),
        ({"broker_url": "redis://127.0.0.1:1/0", "storage": {"url": "ftp://x"}}, "s3://BUCKET"),
    ],
    ids=["no broker", "no keys", "no store"],
)
def test_a_farm_that_must_not_start_says_what_to_change(
    tmp_path: Path, settings: dict[str, Any], remedy: str
):
    process = started(tmp_path, settings)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert remedy in said
    assert "Traceback" not in said


def started_farm(folder: Path, broker_url: str, **settings: Any) -> tuple[subprocess.Popen[str], str]:
    """A coordinator and where it will answer."""
    port = kept_ports(folder / "ports.json", ("api",))["api"]
    common = {
        "broker_url": broker_url,
        "port": port,
        "keys": KEYS,
        "storage": {"url": f"file:{folder / 'pictures'}"},
        "home": str(folder),
    }
    return started(folder, common | settings), f"http://127.0.0.1:{port}"


def http(url: str, role: str) -> httpx.Client:
    # It connects again for half a minute, while the coordinator starts.
    transport = httpx.HTTPTransport(retries=8)
    headers = {"authorization": f"Bearer {role}-key"}
    return httpx.Client(base_url=url, headers=headers, transport=transport, timeout=DEADLINE_S)


@pytest.mark.parametrize("asking", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_when_asked_to_and_lets_waiting_nodes_go(
    tmp_path: Path, valkey_server: ValkeyServer, asking: signal.Signals
):
    process, url = started_farm(tmp_path, valkey_server.url)
    with http(url, "node") as node, http(url, "operator") as operator, ThreadPoolExecutor(2) as calls:
        operator.get("/healthz").raise_for_status()
        node.headers["authorization"] = f"Bearer {access(url, 'waiting').token}"
        join = Join(name="waiting", card=card(8))
        joined = Joined.model_validate_json(node.post("/v1/nodes", json=join.model_dump()).content)
        listen = Listen(incarnation=joined.incarnation, wait_s=DEADLINE_S).model_dump()
        listening = calls.submit(node.post, f"/v1/nodes/{joined.node_id}/orders", json=listen)
        claim = Claim(
            node_id=joined.node_id,
            incarnation=joined.incarnation,
            ticket=TicketSigner("ticket-key").issue("public", 8).text,
            wait_s=DEADLINE_S,
        )
        claiming = calls.submit(node.post, "/v1/claims", json=claim.model_dump())
        until(lambda: operator.get("/v1/nodes").json()[0]["parked"])
        process.send_signal(asking)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert claiming.result(DEADLINE_S).json()["lease"] is None
        assert listening.result(DEADLINE_S).json()["order"] == "go on"
    assert process.returncode == 0
    assert "Traceback" not in said


def test_with_a_damaged_ledger_it_ends_with_a_sentence_and_leaves_the_file_alone(tmp_path: Path):
    ledger = tmp_path / "ledger.sqlite"
    ledger.write_text("no database at all " * 100)
    before = ledger.read_bytes()
    process, _ = started_farm(tmp_path, "redis://127.0.0.1:1/0")
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert f"{ledger}, is not working (file is not a database): no SQLite file, or damaged" in said
    assert "Traceback" not in said
    assert ledger.read_bytes() == before


@pytest.mark.parametrize("asking", [signal.SIGTERM, signal.SIGINT])
def test_ingest_ends_in_order_when_asked_to(tmp_path: Path, own_valkey: ValkeyServer, asking: signal.Signals):
    settings = {"broker_url": own_valkey.url, "storage": {"url": f"file:{tmp_path / 'pictures'}"}}
    process = started(tmp_path, settings, program="coordinator.ingest")
    with redis.Redis.from_url(own_valkey.url) as broker:
        until(lambda: any(client["cmd"] == "brpop" for client in broker.client_list()))
    process.send_signal(asking)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_where_the_broker_lets_the_farm_define_no_users_it_does_not_start(
    tmp_path: Path, own_valkey: ValkeyServer
):
    with redis.Redis.from_url(own_valkey.url) as admin:
        admin.execute_command("ACL", "SETUSER", "hosted", "on", ">secret-pw", "~*", "&*", "+@all", "-acl")
    process, _ = started_farm(tmp_path, f"redis://hosted:secret-pw@127.0.0.1:{own_valkey.port}/0")
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert "does not let the farm define users for nodes" in said
    assert "+acl|setuser" in said
    assert "secret-pw" not in said
    assert "Traceback" not in said
