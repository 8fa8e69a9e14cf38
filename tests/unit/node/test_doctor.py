"""`farm-node doctor` says what a machine can do and what stands in the way."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.cards import load_card
from common.catalog import load_catalog
from common.errors import Unavailable
from common.messages import Addresses
from common.nodes import Card
from common.units import MIB
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.cache import ModelCache
from gpu_node.cli import app
from gpu_node.doctor import Finding, examine
from gpu_node.energy import DeclaredMeter, Meter
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.measured import Measured, MeasuredRecipes
from gpu_node.probe import Kernels, Probe

CARDS = Path(__file__).parents[3] / "manifests" / "cards"


@dataclass(frozen=True)
class OldCard:
    """A Pascal card under a torch that has no kernels for it."""

    device: str = "cuda:0"
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    driver: str = "580.1"

    def card(self) -> Card:
        return load_card(CARDS / "gtx-1070.yaml")

    def meter(self) -> Meter:
        return DeclaredMeter(None)

    def kernels(self) -> Kernels:
        return Kernels(torch="2.13.0+cu130", archs=("sm_75", "sm_90"), check="", problem="no kernel image")


def no_card() -> Probe:
    raise Unavailable("no NVIDIA card 0 found on this machine")


def report(
    library: Library, home: Path, coordinator: Coordinator | None = None, **more: Any
) -> dict[str, list[Finding]]:
    """Findings by subject."""
    found: dict[str, list[Finding]] = {}
    probe = more.pop("probe", OldCard)
    for finding in examine(probe, library, coordinator, home=home, folders=library.folders, **more):
        found.setdefault(finding.subject, []).append(finding)
    return found


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(load_catalog(), (tmp_path,), Hashes(tmp_path / "hashes.json"))


def test_a_card_that_this_torch_cannot_use_is_told_which_torch_can(library: Library, tmp_path: Path) -> None:
    findings = report(library, tmp_path)

    (torch,), (card,) = findings["torch"], findings["card"]
    assert not torch.good
    assert "sm_75, sm_90" in torch.sentence
    assert "CUDA 12.6" in torch.sentence
    assert "compute capability 6.1" in card.sentence


def test_without_a_card_everything_else_is_reported(library: Library, tmp_path: Path) -> None:
    found = report(library, tmp_path, probe=no_card)
    assert [(one.good, one.sentence) for one in found["card"]] == [
        (False, "no NVIDIA card 0 found on this machine")
    ]
    assert {"software", "memory", "disk", "model", "LoRA", "farm"} <= found.keys()
    assert "torch" not in found
    assert "GiB" in found["memory"][0].sentence
    assert str(tmp_path) in found["disk"][0].sentence


def test_a_disk_without_room_for_images_is_an_error(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=MIB)
    monkeypatch.setattr("gpu_node.doctor.shutil.disk_usage", lambda _: full)
    (disk,) = report(library, tmp_path / "not" / "yet")["disk"]
    assert not disk.good
    assert "choose another --home" in disk.sentence


def test_a_model_that_is_expected_but_not_here_is_an_error(library: Library, tmp_path: Path) -> None:
    (library.folders[0] / "loras").mkdir()
    found = report(library, tmp_path, expected=["sdxl"])
    (missing,) = (one.sentence for one in found["model"] if not one.good)
    path = "stabilityai/stable-diffusion-xl-base-1.0"
    assert missing == f"sdxl is not on this machine: {path} is not in {library.folders[0]}"
    (others,) = (one.sentence for one in found["model"] if "not offered" in one.sentence)
    assert "sd15 (stable-diffusion-v1-5/" in others
    assert "sdxl" not in others
    assert "shotfarm-demo" not in others


def test_a_folder_of_models_that_has_none_is_an_error(library: Library, tmp_path: Path) -> None:
    (folder,) = library.folders
    (empty,) = report(library, tmp_path)["models"]
    assert not empty.good
    assert f"such as {folder / 'Tongyi-MAI/Z-Image-Turbo'}" in empty.sentence

    (folder / "model_index.json").write_text("{}")
    (itself,) = report(library, tmp_path)["models"]
    assert "is the folder of one model" in itself.sentence

    (folder / "model_index.json").unlink()
    (folder / "stabilityai" / "stable-diffusion-xl-base-1.0").mkdir(parents=True)
    assert "models" not in report(library, tmp_path)

    gone = Library(library.catalog, (folder / "gone",), Hashes(tmp_path / "hashes.json"))
    (absent,) = report(gone, tmp_path)["models"]
    assert "does not exist" in absent.sentence


def test_a_models_folder_without_files_is_an_error(library: Library, tmp_path: Path) -> None:
    folder = library.folders[0] / "stabilityai" / "stable-diffusion-xl-base-1.0"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache" / "part").write_bytes(b"x")
    (sdxl,) = (one for one in report(library, tmp_path)["model"] if "sdxl: " in one.sentence)
    assert not sdxl.good
    assert "contains no files" in sdxl.sentence


def test_a_model_is_told_with_its_recipe_and_peak_on_this_card(library: Library, tmp_path: Path) -> None:
    folder = library.folders[0] / "stabilityai" / "stable-diffusion-xl-base-1.0"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (sdxl,) = (one for one in report(library, tmp_path)["model"] if one.sentence.startswith("sdxl in"))
    assert sdxl.good
    assert "recipe fp8-fp32, predicted peak" in sdxl.sentence
    assert "measured" not in sdxl.sentence

    model = library.catalog.models["sdxl"]
    known = MeasuredRecipes(tmp_path, OldCard().card(), OldCard().driver)
    known.note(model, model.recipe("fp8-fp32"), Measured(image_s=95.2))
    (sdxl,) = (one for one in report(library, tmp_path)["model"] if one.sentence.startswith("sdxl in"))
    assert "GiB, measured 1 min 35 s by fp8-fp32 an image" in sdxl.sentence


def test_a_model_whose_files_are_not_the_catalogs_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "stabilityai" / "stable-diffusion-xl-base-1.0"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    catalog = load_catalog()
    wrong = replace(catalog.models["sdxl"], identity="sha256:" + "0" * 64)
    library = Library(replace(catalog, models={"sdxl": wrong}), (tmp_path,), Hashes(tmp_path / "hashes.json"))

    (model,) = report(library, tmp_path)["model"]

    assert not model.good
    assert "sdxl" in model.sentence


def test_a_model_that_the_farm_serves_is_no_trouble(tmp_path: Path) -> None:
    catalog, identity = load_catalog(), "sha256:" + "0" * 64
    models = {"sdxl": replace(catalog.models["sdxl"], identity=identity)}
    cache = ModelCache(tmp_path / "cache", 1000)
    hashes = Hashes(tmp_path / "hashes.json")
    library = Library(replace(catalog, models=models), (), hashes, cache, {identity: 1000})

    (model,) = report(library, tmp_path, expected=["sdxl"])["model"]

    assert model.good
    assert model.sentence.startswith("sdxl: arrives from the farm when there is work for it")


def test_a_farm_that_does_not_answer_is_named(library: Library, tmp_path: Path) -> None:
    with Coordinator("http://127.0.0.1:9", "") as coordinator:
        (farm,) = report(library, tmp_path, coordinator)["farm"]

    assert not farm.good
    assert "http://127.0.0.1:9 does not answer" in farm.sentence


def test_each_port_of_a_farm_is_told_to_be_reachable_or_not(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Coordinator("http://127.0.0.1:9", "") as coordinator,
        socket.create_server(("127.0.0.1", 0)) as broker,
    ):
        there = Addresses(broker=f"127.0.0.1:{broker.getsockname()[1]}", store="http://127.0.0.1:9")
        monkeypatch.setattr(coordinator, "reachable", lambda: None)
        monkeypatch.setattr(coordinator, "addresses", lambda: there)
        api, tickets, store = report(library, tmp_path, coordinator)["farm"]
    assert (api.good, tickets.good, store.good) == (True, True, False)
    assert f"the broker at {there.broker} answers" in tickets.sentence
    assert "the store at http://127.0.0.1:9 does not answer (" in store.sentence
    assert "firewall" in store.sentence


def test_the_command_exits_by_what_it_found(tmp_path: Path) -> None:
    arguments = ["doctor", "--card", str(CARDS / "gtx-1070.yaml"), "--home", str(tmp_path)]

    good = CliRunner().invoke(app, arguments)
    bad = CliRunner().invoke(app, [*arguments, "--farm", "http://127.0.0.1:9"])

    assert good.exit_code == 0, good.output
    assert "vram08" in good.output
    assert bad.exit_code == 1
    assert "does not answer" in bad.output


def test_the_command_fails_for_models_that_catalog_files_add_and_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("models: {mine: {like: sdxl, path: mine}}")
    (tmp_path / "models" / "mine").mkdir(parents=True)
    settings = {"FARM_CATALOGS": json.dumps([str(tmp_path / "mine.yaml")])}
    arguments = ["doctor", "--card", str(CARDS / "gtx-1070.yaml"), "--home", str(tmp_path / "home")]
    arguments += ["--models", str(tmp_path / "models"), "--json"]

    def findings() -> tuple[int, list[str]]:
        run = CliRunner().invoke(app, arguments, env=settings)
        return run.exit_code, [one["sentence"] for one in json.loads(run.stdout) if not one["good"]]

    code, wrong = findings()
    assert code == 1
    assert any("contains no files" in sentence for sentence in wrong)

    (tmp_path / "models" / "mine").rmdir()
    code, wrong = findings()
    assert code == 1
    assert any(sentence.startswith("mine is not on this machine") for sentence in wrong)

    (tmp_path / "models" / "mine").mkdir()
    (tmp_path / "models" / "mine" / "model_index.json").write_text("{}")
    assert findings() == (0, [])


def test_a_program_reads_the_findings_as_json(tmp_path: Path) -> None:
    arguments = ["doctor", "--card", str(CARDS / "gtx-1070.yaml"), "--home", str(tmp_path), "--json"]

    run = CliRunner().invoke(app, arguments)

    findings = json.loads(run.stdout)
    assert {"subject", "good", "sentence"} == set(findings[0])
    assert run.exit_code == (0 if all(finding["good"] for finding in findings) else 1)
