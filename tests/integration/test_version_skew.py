"""A node and a farm of different versions: the node says what to install, and ends."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from common.messages import PROTOCOL
from tests.farm import RunningFarm, running_farm, until
from tests.node_process import NodeStarter
from tests.servers import ValkeyServer
from tests.waiting import PATIENCE_S


def become(monkeypatch: pytest.MonkeyPatch, farm: str, protocol: int) -> None:
    """Let the farm of this process be of another version."""
    monkeypatch.setattr("coordinator.http.request_guard.version", lambda package: farm)
    monkeypatch.setattr("coordinator.http.request_guard.PROTOCOL", protocol)


def home(folder: Path) -> Path:
    """A folder of the farm's own beside the node's."""
    (folder / "farm").mkdir()
    return folder / "farm"


def joined(farm: RunningFarm) -> bool:
    return bool(farm.farm.ledger.nodes.views())


@pytest.mark.parametrize(("theirs", "protocol"), [("9.0.0", PROTOCOL + 1), ("0.0.9", PROTOCOL - 1)])
def test_a_node_that_is_older_or_newer_than_its_farm_ends_with_the_version_to_install(
    tmp_path: Path,
    own_valkey: ValkeyServer,
    start_node: NodeStarter,
    monkeypatch: pytest.MonkeyPatch,
    theirs: str,
    protocol: int,
) -> None:
    become(monkeypatch, theirs, protocol)
    with running_farm(home(tmp_path), own_valkey.url) as farm:
        node = start_node(farm.url)

        assert node.process.wait(PATIENCE_S) == 1
        assert not joined(farm)
    assert f"this node runs shotfarm {version('shotfarm')} (protocol {PROTOCOL})" in node.said
    assert f"install shotfarm=={theirs} on the node" in node.said
    assert "Traceback" not in node.said


def test_a_node_whose_farm_is_upgraded_ends_with_the_version_to_install(
    tmp_path: Path, own_valkey: ValkeyServer, start_node: NodeStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_farm(home(tmp_path), own_valkey.url) as farm:
        node = start_node(farm.url)
        until(lambda: joined(farm))
        become(monkeypatch, "9.0.0", PROTOCOL + 1)

        assert node.process.wait(PATIENCE_S) == 1
    assert "install shotfarm==9.0.0 on the node" in node.said
