"""A hub on this machine, and what fetches from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.catalog import load_catalog
from coordinator.models.adding import Adder
from coordinator.models.catalog_file import CatalogFile
from coordinator.models.web import Web
from tests.hub import Hub, used_hub

BUILT_IN = load_catalog()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with used_hub(monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture
def web(hub: Hub) -> Iterator[Web]:
    """Waits for nothing."""
    with Web(pause=lambda _: None) as web:
        yield web


@pytest.fixture
def adder(web: Web, tmp_path: Path) -> Callable[[], Adder]:
    """Adds to a farm's home, as it is at the call."""
    home = tmp_path / "home"

    def now() -> Adder:
        file = home / "catalog.yaml"
        return Adder(
            catalog=load_catalog((file,)) if file.is_file() else BUILT_IN,
            built_in=BUILT_IN,
            own=CatalogFile(file, ()).entries(),
            models=home / "models",
            folders=(),
            web=web,
        )

    return now
