"""`python -m coordinator.service` as a process: how it starts, refuses to start, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from common.celeryapp import Publisher
from common.keys import TicketSigner
from common.messages import Claim, Join, Joined
from common.settings import Keys, Settings
from coordinator.broker_user import BrokerUser
from coordinator.embedded.ports import kept_ports
from tests.farm import DEADLINE_S, card
from tests.servers import ValkeyServer

KEYS = {"operator": "operator-key", "node": "node-key", "ingest": "ingest-key", "ticket": "ticket-key"}


def started(folder: Path, settings: dict[str, Any]) -> subprocess.Popen[str]:
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FARM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "coordinator.service"],
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


def test_it_ends_when_asked_to_although_a_claim_waits(tmp_path: Path, valkey_server: ValkeyServer):
    port = kept_ports(tmp_path / "ports.json", ("api",))["api"]
    settings = {
        "broker_url": valkey_server.url,
        "port": port,
        "keys": KEYS,
        "storage": {"url": f"file:{tmp_path / 'pictures'}"},
        "home": str(tmp_path),
    }
    process = started(tmp_path, settings)
    transport = httpx.HTTPTransport(retries=8)  # waits longer each time, for half a minute in all
    url, key = f"http://127.0.0.1:{port}", {"authorization": "Bearer node-key"}
    with httpx.Client(base_url=url, headers=key, transport=transport, timeout=DEADLINE_S) as node:
        join = Join(name="waiting", card=card(8))
        joined = Joined.model_validate_json(node.post("/v1/nodes", json=join.model_dump()).content)
        claim = Claim(
            node_id=joined.node_id,
            incarnation=joined.incarnation,
            ticket=TicketSigner("ticket-key").issue("public", 8).text,
        )
        patience = httpx.Timeout(DEADLINE_S, read=0.5)
        with pytest.raises(httpx.ReadTimeout):
            node.post("/v1/claims", json=claim.model_dump(), timeout=patience)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_where_the_broker_lets_us_define_no_user_nodes_get_its_own(
    own_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
):
    with redis.Redis.from_url(own_valkey.url) as admin:
        admin.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", "~*", "&*", "+@all", "-acl")
    broker_url = f"redis://hosted:pw@127.0.0.1:{own_valkey.port}/0"
    publisher = Publisher(broker_url)
    user = BrokerUser(publisher, Settings(broker_url=broker_url, keys=Keys(ticket="secret")))
    user.define()
    user.define()
    assert user.url() == broker_url
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    publisher.close()
