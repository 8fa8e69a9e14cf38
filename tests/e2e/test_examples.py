"""A running farm accepts each example manifest after the one command that stands at its top."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.cli.main import main
from tests.e2e.farmhouse import Farmhouse
from tests.hub import Hub, used_hub
from tests.tiny import save_lora
from tests.twins import add_twins
from tests.unit.cli.conftest import Farm, runner

pytestmark = pytest.mark.slow

_MANIFESTS = Path(__file__).parents[2] / "manifests"
_LINE = re.compile(r"^# Before the first render: farm (models add .+)$", re.MULTILINE)
EXAMPLES = sorted(path.name for path in _MANIFESTS.glob("*.yaml") if _LINE.search(path.read_text()))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, twin_of: Callable[[str], Path]) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as variables, used_hub(variables, folder) as hub:
        add_twins(hub, twin_of)
        yield hub


@pytest.fixture(scope="module")
def place(running: Farmhouse, tiny_model: Path) -> Path:
    """The folder of a running farm, with the examples and the LoRAs of a person."""
    shutil.copytree(_MANIFESTS, running.folder / "manifests")
    for name in ("ana_v2", "bo_v1"):
        save_lora(running.folder / f"{name}.safetensors", tiny_model)
    return running.folder


@pytest.fixture
def farm(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Farm:
    monkeypatch.chdir(place)
    return runner("farm", main, monkeypatch, capsys)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted_after_the_command_at_its_top(name: str, hub: Hub, farm: Farm) -> None:
    manifest = Path("manifests") / name
    found = _LINE.search(manifest.read_text())
    assert found is not None
    command = found[1].split()
    refused = farm("submit", manifest, "--yes")
    assert (refused.code, "no identity" in refused.err) == (2, True), refused

    added = farm(*command)
    assert added.code == 0, added
    accepted = farm("submit", manifest, "--yes")
    assert accepted.code == 0, accepted

    # The next example starts without them.
    for word in command[2:]:
        assert farm("models", "rm", word.removesuffix(".safetensors")).code == 0
