"""A node under a whole coordinator: its owner and the operator are heard, with a heartbeat an hour."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpu_node.owner_settings import owner_file
from tests import waiting
from tests.farm import QUICK, RunningFarm, running_farm, until
from tests.node_process import Node, NodeStarter, outlived
from tests.servers import ValkeyServer

#: Whatever reaches the node within a test was no heartbeat's answer.
TIMING = QUICK.model_copy(update={"heartbeat_s": 3600.0, "lease_s": 14400.0})
MANIFEST = """
version: 1
name: mugs
shots: [{name: mug, model: tiny, prompt: a mug, seeds: 200, steps: 1000, size: 64x64}]
"""


@pytest.fixture
def farm(own_valkey: ValkeyServer, tiny_catalog: Path) -> Iterator[RunningFarm]:
    with running_farm(
        tiny_catalog.parent, own_valkey.url, timing=TIMING, catalogs=(tiny_catalog,)
    ) as running:
        yield running


@pytest.fixture
def node(farm: RunningFarm, start_node: NodeStarter) -> Node:
    return start_node(farm.url)


def state(operator: httpx.Client) -> dict[str, Any]:
    """What the farm says of its only node."""
    nodes: list[dict[str, Any]] = operator.get("/v1/nodes").json()
    return nodes[0]


def begin(operator: httpx.Client, node: Node) -> str:
    """Return the job once the node holds a batch of it."""
    node.wait_until_it_says("joined as n1")
    job = str(operator.post("/v1/jobs", json={"manifest": MANIFEST}).raise_for_status().json()["id"])
    node.wait_until_it_says(" × tiny by ")
    return job


def counts(operator: httpx.Client, job: str) -> dict[str, int]:
    found: dict[str, int] = operator.get(f"/v1/jobs/{job}").json()["counts"]
    return found


def owner(verb: str, farm: RunningFarm, folder: Path) -> str:
    """What `farm-node pause` or `resume` says to the card's owner."""
    command = [sys.executable, "-m", "gpu_node.cli", verb, "--farm", farm.url, "--home", "home"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return said.stdout


def test_an_owner_has_his_card_back_and_lends_it_again(
    farm: RunningFarm, operator: httpx.Client, node: Node, tmp_path: Path
) -> None:
    job = begin(operator, node)
    with outlived(waiting.until(lambda: node.engine)) as gone:
        assert "paused" in owner("pause", farm, tmp_path)
        assert gone()
    assert state(operator)["state"] == "paused"
    assert counts(operator, job).get("running", 0) == 0

    refused = operator.post("/v1/nodes/n1/resume")
    assert refused.status_code == 409
    assert node.engine == 0

    assert "resumed" in owner("resume", farm, tmp_path)
    until(lambda: node.engine != 0)
    until(lambda: state(operator)["state"] == "busy")

    # By the settings of the owner, whom the operator cannot overrule.
    later = datetime.now() + timedelta(hours=2)
    owner_file(tmp_path / "home").write_text(f"when: ['{later:%H}:00-{later:%H}:30']\n")
    said = "outside the hours of its owner until"
    until(lambda: f"paused by its owner: {said}" in state(operator)["reason"])
    assert operator.post("/v1/nodes/n1/resume").status_code == 409
    assert node.engine == 0
    told = operator.get("/v1/explain/n1").raise_for_status().json()
    assert (said in str(told["sentences"]), told["remedy"]) == (True, "")
    owner_file(tmp_path / "home").unlink()
    until(lambda: state(operator)["state"] == "busy")
    assert node.stop() == 0


def test_a_node_that_is_resumed_works_at_once_and_is_blamed_for_no_pause(
    operator: httpx.Client, node: Node
) -> None:
    begin(operator, node)
    for _ in range(4):
        with outlived(waiting.until(lambda: node.engine)) as gone:
            operator.post("/v1/nodes/n1/pause").raise_for_status()
            assert gone()
        operator.post("/v1/nodes/n1/resume").raise_for_status()

    until(lambda: state(operator)["state"] == "busy")
    assert "was not loaded" not in node.said
    assert node.stop() == 0


def test_a_cancelled_job_is_out_of_its_nodes_hands_at_once(operator: httpx.Client, node: Node) -> None:
    job = begin(operator, node)
    engine = waiting.until(lambda: node.engine)
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()

    until(lambda: set(counts(operator, job)) <= {"cancelled", "done", "delivered"})
    until(lambda: state(operator)["batch_id"] is None)
    assert node.engine == engine
    assert node.stop() == 0
