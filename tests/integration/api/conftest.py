"""Farms that are asked over real HTTP, one for each test or one for those that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.farm import RunningFarm, ScriptedNode, running_farm
from tests.servers import ValkeyServer


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path, own_valkey.url) as running:
        yield running


@pytest.fixture
def operator(farm: RunningFarm) -> Iterator[httpx.Client]:
    with farm.client("operator") as client:
        yield client


@pytest.fixture
def node(farm: RunningFarm) -> Iterator[ScriptedNode]:
    node = ScriptedNode(farm)
    yield node
    node.leave()


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
