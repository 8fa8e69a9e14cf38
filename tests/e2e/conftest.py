"""Farms of the end-to-end tests: every part a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.farmhouse import Farmhouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Farmhouse]:
    """An empty folder; whatever farm a test starts in it is ended."""
    house = Farmhouse(tmp_path)
    yield house
    house.farm("down")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    """A farm without nodes that runs, for all tests of a module that leave it running."""
    house = Farmhouse(tmp_path_factory.mktemp("running"))
    house.farm("up")
    yield house
    house.farm("down")
