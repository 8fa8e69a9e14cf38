"""The page on Z-Image-Turbo, run as it is written: a hub on this machine has a tiny model in its place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests import programs
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.hub import Hub, running_hub
from tests.tiny import save_gguf
from tests.twins import add_twins

pytestmark = pytest.mark.slow

_PAGE = Path(__file__).parents[2] / "docs" / "quickstart" / "z-image-turbo.md"
_BLOCK = re.compile(r"^```(yaml)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS = _BLOCK.findall(_PAGE.read_text())
_FILES = {block.split(maxsplit=2)[1]: block for kind, block in _BLOCKS if kind}
_COMMANDS = [line for kind, block in _BLOCKS if not kind for line in block.splitlines()]
#: What the page says for other cards.
_NOT_FOR = {"rtx-3060": ("gguf", "768x768"), "gtx-1070": ("--size 1024x1024",)}
#: Of the transformer, in a recipe that a CPU computes.
_WEIGHTS = {"rtx-3060": "float32", "gtx-1070": "gguf-q4"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, twin_of: Callable[[str], Path]) -> Iterator[Hub]:
    file = tmp_path_factory.mktemp("hub") / "z.gguf"
    with running_hub() as hub:
        add_twins(hub, twin_of, families=("z-image",))
        gguf = save_gguf(file, twin_of("z-image"), format_="Q4_0", original_names=True)
        hub.repos["jayn7/Z-Image-Turbo-GGUF"] = {"z_image_turbo-Q4_K_S.gguf": gguf.read_bytes()}
        yield hub


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> Iterator[Farmhouse]:
    """An empty one, whose hub is the local one."""
    variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": ""}
    house = Farmhouse(tmp_path, programs.own_environment() | variables)
    yield house
    house.farm("down")


@pytest.mark.parametrize("card", _NOT_FOR)
def test_the_page_leads_from_nothing_to_pictures(card: str, machine: Farmhouse) -> None:
    commands = [line for line in _COMMANDS if not any(words in line for words in _NOT_FOR[card])]
    doctor = commands.index("farm-node doctor")
    run(commands[doctor], machine, card)
    write_files(machine.folder, card)
    for command in commands[doctor + 1 :]:
        run(command, machine, card)

    with Image.open(machine.folder / "lighthouse.png") as picture:
        assert picture.size == (128, 128)
    assert (machine.folder / "pictures" / "contact-sheet.png").exists()
    assert len(list((machine.folder / "pictures" / "coast").glob("*.png"))) == 4


def write_files(folder: Path, card: str) -> None:
    """Those of the page, for a machine whose CPU poses as the card and has a recipe of its own."""
    (folder / "lighthouse.yaml").write_text(small(_FILES["lighthouse.yaml"]))
    settings = yaml.safe_load(_FILES["farm.yaml"])
    for node in settings["nodes"]:
        node["card"] = str(CARDS / f"{card}.yaml")
    recipe = {
        "name": "cpu",
        "compute_dtype": "float32",
        "weights": {"text_encoder": "float32", "transformer": _WEIGHTS[card], "vae": "float32"},
        "backends": ["cuda", "cpu"],
    }
    families = {"z-image": {"like": "z-image", "recipes": [recipe]}}
    (folder / "cpu.yaml").write_text(yaml.safe_dump({"families": families}))
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings | {"catalogs": ["cpu.yaml"]}))


def run(command: str, machine: Farmhouse, card: str) -> None:
    name, *words = shlex.split(small(command))
    if name == "farm-node" or words[0] == "render":
        words += ["--card", str(CARDS / f"{card}.yaml")]
    try:
        programs.run(programs.program(name), *words, folder=machine.folder, environment=machine.environment)
    except AssertionError as failed:
        failed.add_note(f"{command}\n{machine.logs()}")
        raise


def small(text: str) -> str:
    """The pictures of the page in a size that a CPU renders at once."""
    return re.sub(r"\b(1024x1024|768x768)\b", "128x128", text)
