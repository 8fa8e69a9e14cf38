"""Farms that are asked over real HTTP, one for each test or one for those that leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from common.messages import Lease
from tests.farm import RunningFarm, ScriptedNode, running_farm
from tests.integration.api.calls import submit
from tests.servers import ValkeyServer

JoinAs = Callable[[str], ScriptedNode]


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path, own_valkey.url) as running:
        yield running


@pytest.fixture
def joined(farm: RunningFarm) -> Iterator[JoinAs]:
    """Lets a node of a name join; all leave in the end."""
    nodes: list[ScriptedNode] = []

    def join(name: str) -> ScriptedNode:
        nodes.append(ScriptedNode(farm, name=name))
        return nodes[-1]

    yield join
    for node in nodes:
        node.leave()


@pytest.fixture
def node(joined: JoinAs) -> ScriptedNode:
    return joined("node-1")


@pytest.fixture
def job(operator: httpx.Client) -> str:
    """Four shots."""
    return submit(operator)


@pytest.fixture
def lease(node: ScriptedNode, job: str) -> Lease:
    return node.lease()


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
