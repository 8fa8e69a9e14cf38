"""From an empty machine to pictures of models in every form, by a machine on which nothing was set up.

A network namespace stands in for the other machine: it reaches the farm alone, and not the hub.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from common.catalog import load_catalog
from tests import programs
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.e2e.machines import IP, NEEDS_ROOT, other_machine
from tests.hub import Hub, running_hub
from tests.tiny import save_gguf, save_lora
from tests.tiny_original import save_checkpoint, save_separate_files
from tests.twins import add_twins

pytestmark = [pytest.mark.slow, NEEDS_ROOT]

#: One of each family that the hub has, and the model whose transformer is quantised.
_MODELS = tuple(
    {model.family.name: model for model in load_catalog().models.values() if "/" in model.path}.values()
)
_NAMES = sorted({model.name for model in _MODELS} | {"z-image", "z-image-turbo", "sd15"})
_SMALL: dict[str, Any] = {"size": "64x64", "steps": 2}


@pytest.fixture
def hub(twin_of: Callable[[str], Path], tmp_path: Path) -> Iterator[Hub]:
    """With the repositories of all families, and somebody's LoRA at an address of its own."""
    with running_hub() as hub:
        add_twins(hub, twin_of, families=tuple(model.family.name for model in _MODELS))
        lora = save_lora(tmp_path / "lora.safetensors", twin_of("z-image"))
        hub.others["/files/style.safetensors"] = lora.read_bytes()
        yield hub


@pytest.fixture
def house(hub: Hub, tmp_path: Path) -> Iterator[Farmhouse]:
    """An empty machine, whose hub is the local one."""
    folder = tmp_path / "house"
    folder.mkdir()
    variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": ""}
    house = Farmhouse(folder, programs.own_environment() | variables)
    yield house
    house.farm("down")


def test_models_in_every_form_are_rendered_by_a_machine_that_joined_with_one_line(
    house: Farmhouse, hub: Hub, twin_of: Callable[[str], Path], tmp_path: Path
) -> None:
    write_settings(house.folder)
    with other_machine() as (namespace, address):
        house.farm("up", "--listen", address)
        add_in_every_form(house, hub, twin_of, tmp_path)
        line = house.farm("node", "invite", "--name", "far", "--terms", "owned").stdout.strip()
        with far_node(namespace, line, tmp_path / "far"):
            write_manifest(house.folder)
            job = house.json("submit", "all.yaml", "--yes", "--watch")["job"]["id"]
        with house.client() as client:
            # It was ended in order, and said so.
            assert [(node.name, node.state) for node in client.nodes()] == [("far", "offline")]
            images = list(client.shots(job))
            gguf = next(image for image in images if image.model == "z-image-turbo")
            assert client.origin(gguf.sha256 or "", gguf.shot_id, None).recipe == "gguf"
        assert {image.node for image in images} == {"far"}
        assert all(image.url and image.url.startswith(f"http://{address}:") for image in images)
        assert house.stored_of(job) == [1] * len(images)
        assert_alike(pictures(house, job))
        ports = json.loads((house.folder / ".farm" / "ports.json").read_text())
        inner = {name: port for name, port in ports.items() if name.endswith("+grpc")}
        assert {name for name, port in inner.items() if is_open(address, port)} == set()
        house.farm("down")


def write_settings(folder: Path) -> None:
    """A farm without nodes, and recipes that a CPU computes; Z-Image-Turbo has one for GGUF alone."""
    families = {
        model.family.name: {"like": model.family.name, "recipes": [recipe("fp32", model.components)]}
        for model in _MODELS
    }
    parts = load_catalog().models["z-image-turbo"].components
    gguf = recipe("gguf", parts, transformer="gguf-q4")
    catalog = {
        "families": families,
        "models": {"z-image-turbo": {"like": "z-image-turbo", "recipes": [gguf]}},
    }
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog))
    (folder / "farm.yaml").write_text(yaml.safe_dump({"catalogs": ["catalog.yaml"], "nodes": []}))


def recipe(name: str, parts: Any, **weights: str) -> dict[str, Any]:
    return {
        "name": name,
        "compute_dtype": "float32",
        "weights": dict.fromkeys(parts, "float32") | weights,
        "backends": ["cuda", "cpu"],
    }


def add_in_every_form(house: Farmhouse, hub: Hub, twin_of: Callable[[str], Path], folder: Path) -> None:
    """A repository, a quantised transformer, a checkpoint, ComfyUI's files, and a LoRA by its address."""
    gguf = save_gguf(folder / "z-Q4_0.gguf", twin_of("z-image"), format_="Q4_0", original_names=True)
    dream = save_checkpoint(folder / "dream.safetensors", twin_of("sd15"))
    files = save_separate_files(folder / "ComfyUI" / "models", twin_of("z-image"))
    own = ("--license", "own-work")
    # Any server that is not the hub.
    elsewhere = hub.url.replace("127.0.0.1", "localhost") + "/files/style.safetensors"
    for arguments in (
        _NAMES,
        (str(gguf), "--like", "z-image-turbo"),
        (str(dream), "--like", "sd15", *own),
        (*map(str, files), "--name", "split", "--like", "z-image", *own),
        (elsewhere, "--like", "z-image", *own),
    ):
        assert "the running farm serves it" in house.farm("models", "add", *arguments).stdout


def write_manifest(folder: Path) -> None:
    """One picture of each model, and one with the LoRA; of two families also long prompts."""
    shots = [
        {"name": model, "model": model, "prompt": "a red mug", "guidance": 1} | _SMALL
        for model in (*_NAMES, "dream", "split")
    ]
    # The hub has the same files under both names, so that the same picture would be one shot.
    shots[_NAMES.index("z-image-turbo")]["prompt"] = "a blue mug"
    shots.append(shots[_NAMES.index("z-image")] | {"name": "style", "loras": ["style"]})
    for family in ("sd15", "sdxl"):
        long = {"prompt": "a (red:1.2) mug, " * 10, "negative": "a lamp BREAK blurry", "guidance": 5}
        shots.append({"name": f"long-{family}", "model": family, "clip_skip": 2} | long | _SMALL)
    manifest = {"version": 1, "name": "all", "shots": shots, "output": {"name": "{group}"}}
    (folder / "all.yaml").write_text(yaml.safe_dump(manifest))


@contextmanager
def far_node(namespace: str, line: str, machine: Path) -> Iterator[None]:
    """A node on the other machine, which has the line, and an empty disk."""
    machine.mkdir()
    command = [IP, "netns", "exec", namespace, programs.program("farm-node"), "run", "--invite", line]
    command += ["--card", str(CARDS / "rtx-4090.yaml")]
    environment = programs.own_environment() | {"HOME": str(machine)}
    with (machine / "node.log").open("w") as log:
        node = subprocess.Popen(command, cwd=machine, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        node.terminate()
        node.wait(60)


def pictures(house: Farmhouse, job: str) -> dict[str, bytes]:
    """Pixels by group."""
    house.farm("pull", job, "pictures", "--no-sheet")
    found = {}
    for file in (house.folder / "pictures").iterdir():
        with Image.open(file) as image:
            found[file.stem] = image.tobytes()
    return found


def assert_alike(found: dict[str, bytes]) -> None:
    """One model in another form makes the same picture; a LoRA makes another."""
    assert found["split"] == found["z-image"] != found["style"]
    assert found["dream"] == found["sd15"]


def is_open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
