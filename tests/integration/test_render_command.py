"""`farm render` as people run it: one picture by a real engine, without a farm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from PIL import Image

from common.catalog import folder_identity, load_catalog
from common.infotext import FARM_KEY
from common.shot import Shot
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.engine_commands import load_command
from gpu_node.identity import Hashes
from gpu_node.library import Library
from tests.engine_talk import pixels, rendered
from tests.programs import own_environment, program, run
from tests.waiting import PATIENCE_S, until

CARD = str(Path(__file__).parents[2] / "manifests" / "cards" / "gtx-1070.yaml")
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder in which a person renders, on a CPU that poses as a card."""

    folder: Path

    def command(self, *options: str) -> list[str]:
        return [program("farm"), "render", "a red mug on a white background", "--card", CARD, *options]

    @property
    def environment(self) -> Mapping[str, str]:
        return own_environment()

    def render(self, *options: str, exit_code: int = 0) -> str:
        """What the command says, apart from its result."""
        done = run(
            *self.command(*options), folder=self.folder, environment=self.environment, exit_code=exit_code
        )
        return done.stdout if exit_code == 0 else done.stderr

    def write_catalog(self, text: str) -> None:
        (self.folder / "catalog.yaml").write_text(text)
        (self.folder / "farm.yaml").write_text("catalogs: [catalog.yaml]")

    def visible(self) -> list[str]:
        """What a person sees in the folder."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != ".farm")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_picture_is_the_one_that_a_node_renders(desk: Desk, engine: EngineClient) -> None:
    report = json.loads(desk.render("--seed", "7", "--lora", "blueprint@1.0", "-o", "mug.png", "--json"))

    assert desk.visible() == ["mug.png"]
    assert (report["card"], report["recipe"]) == ("GTX 1070", "fp32")
    with Image.open(desk.folder / "mug.png") as picture:
        shot = Shot.from_dict(json.loads(str(picture.info[FARM_KEY]))["shot"])
    assert shot.loras
    assert pixels(desk.folder / "mug.png") == pixels(_by_an_engine(shot, engine))


def _by_an_engine(shot: Shot, engine: EngineClient) -> Path:
    library = Library(load_catalog(), (), Hashes(Path("nowhere")))
    load = load_command(shot.model, "fp32", shot, library)
    return rendered(engine, load.folder, shot, **load.model_dump(exclude={"command", "folder"}))


def test_a_model_that_a_node_has_fetched_is_there(desk: Desk, tiny_model: Path) -> None:
    identity = folder_identity(tiny_model)
    desk.write_catalog(f'models: {{mine: {{like: shotfarm-demo, path: far, identity: "{identity}"}}}}')
    folders = desk.folder / ".farm" / "model-cache" / "folders"
    folders.mkdir(parents=True)
    shutil.copytree(tiny_model, folders / identity.removeprefix("sha256:"))

    said = desk.render("--model", "mine", "--steps", "2", "--size", "64x64", "--seed", "3")

    assert said.startswith("mine-3.png: 64×64, mine by recipe fp32, seed 3")
    assert "mine-3.png" in desk.visible()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (
            ("--model", "sdxl"),
            1,
            "the files of sdxl are not on this machine; run `farm models add sdxl`",
        ),
        (
            ("--model", "sdxl", "--models", "models"),
            3,
            "sdxl has no recipe for cpu; it needs cuda",
        ),
        (
            ("--lora", "style@1"),
            1,
            "the file of the LoRA style is not on this machine; run `farm models add FILE --name style`",
        ),
        (
            ("--card", "small.yaml"),
            3,
            "shotfarm-demo needs ",
        ),
        (
            ("--model", "wrong", "--models", "models"),
            2,
            "wrong: the files in {folder}/models/wrong have identity",
        ),
    ],
    ids=["no files", "no recipe", "no LoRA", "no memory", "other files"],
)
def test_why_there_is_no_picture_is_one_sentence(
    options: tuple[str, ...], code: int, sentence: str, desk: Desk
) -> None:
    desk.write_catalog(
        f"models: {{wrong: {{like: shotfarm-demo, path: wrong, identity: 'sha256:{'0' * 64}'}}}}\n"
        "loras: {style: {base: shotfarm-demo, path: style.safetensors, license: own-work}}"
    )
    for path in ("wrong", "stabilityai/stable-diffusion-xl-base-1.0"):
        (desk.folder / "models" / path).mkdir(parents=True)
        (desk.folder / "models" / path / "model_index.json").write_text("{}")
    (desk.folder / "small.yaml").write_text(
        "{name: a small card, vram_gib: 1, usable_gib: 0.01, ram_gib: 8, compute_capability: '6.1', watts: 9}"
    )
    before = desk.visible()

    said = desk.render(*options, exit_code=code)

    assert said.startswith(sentence.format(folder=desk.folder)), said
    assert len(said.splitlines()) == 1
    assert desk.visible() == before


def test_ctrl_c_leaves_neither_a_file_nor_a_process(desk: Desk) -> None:
    process = subprocess.Popen(
        desk.command("--steps", "1000"), cwd=desk.folder, env=desk.environment, start_new_session=True
    )
    me = psutil.Process(process.pid)
    # The renderer, and its engine once the model is chosen.
    renderer, engine = until(lambda: me.children(recursive=True), lambda found: len(found) == 2)

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(PATIENCE_S) == _INTERRUPTED
    assert not psutil.wait_procs([renderer, engine], PATIENCE_S)[1]
    assert desk.visible() == []


def test_two_at_once_do_not_share_a_folder(desk: Desk) -> None:
    with subprocess.Popen(desk.command("--steps", "1000"), cwd=desk.folder, env=desk.environment) as first:
        until(lambda: psutil.Process(first.pid).children(recursive=True), lambda found: len(found) == 2)
        said = desk.render(exit_code=1)
        first.kill()

    assert "another `farm render` is running in" in said
