"""Farms of the end-to-end tests: every part a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common.catalog.identity import folder_identity
from tests.e2e.farmhouse import Farmhouse
from tests.faults.engines import model_of, with_engine


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


@pytest.fixture
def studio(house: Farmhouse, tiny_model: Path) -> Farmhouse:
    """A folder whose farm has two nodes of different classes, and manifests for them."""
    furnish(house.folder, tiny_model)
    return house


@pytest.fixture(scope="module")
def open_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    """The same with engines that only draw, and its farm up, for all tests of a module."""
    house = Farmhouse(tmp_path_factory.mktemp("studio"), with_engine("quick"))
    furnish(house.folder, model_of("quick", house.folder))
    house.farm("up")
    yield house
    house.farm("down")


NODES = (("small", "gtx-1070.yaml"), ("large", "rtx-4090.yaml"))
CARDS = Path(__file__).parents[2] / "manifests" / "cards"


def furnish(folder: Path, model: Path, nodes: tuple[tuple[str, str], ...] = NODES) -> None:
    """Settings, catalog, manifests: `tiny` fits both nodes, `tiny-24` the large one, `tiny-32` none."""
    same = f'path: {model.name}, identity: "{folder_identity(model)}"'
    (folder / "catalog.yaml").write_text(
        "models:\n"
        f"  tiny: {{like: shotfarm-demo, {same}}}\n"
        f"  tiny-24: {{like: shotfarm-demo-24, {same}}}\n"
        f"  tiny-32: {{like: shotfarm-demo, min_class: 32, {same}}}\n"
    )
    settings = {
        "catalogs": ["catalog.yaml"],
        "models": [str(model.parent)],
        "nodes": [{"name": name, "card": str(CARDS / card)} for name, card in nodes],
    }
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings))
    for name, images, steps in (("few", 2, 2), ("many", 12, 20)):
        (folder / f"{name}.yaml").write_text(_MANIFEST.format(name=name, images=images, steps=steps))


def many_passes(name: str, passes: int = 200, steps: int = 10) -> str:
    """A manifest each of whose shots is a pass of its own, as no two have the same number of steps.

    With engines that only draw a pass takes a twentieth of a second a step, and hardly a processor.
    """
    group = {"model": "tiny", "prompt": f"a {name}", "size": "128x128"}
    shots = [group | {"name": f"of-{n}", "steps": n} for n in range(steps, steps + passes)]
    return yaml.safe_dump({"version": 1, "name": name, "shots": shots})


_MANIFEST = """\
version: 1
name: {name}
shots:
- name: mug
  model: tiny
  prompt: a {{colour}} mug
  axes: {{colour: [red, blue, green]}}
  seeds: {images}
  size: 128x128
  steps: {steps}
- name: tree
  model: tiny-24
  prompt: a {{colour}} tree
  axes: {{colour: [red, blue]}}
  size: 128x128
  steps: {steps}
output: {{name: "{{group}}/{{colour}}-{{seed}}"}}
"""
