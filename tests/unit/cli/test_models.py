"""Models are added, shown, checked and removed at the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator.models.catalog_file import CatalogFile
from tests.hub import Hub, used_hub
from tests.unit.cli.conftest import Farm
from tests.unit.models.repositories import sd15, sdxl
from tests.unit.models.test_adding import z_image_gguf
from tests.unit.weights.files import safetensors_bytes
from tests.unit.weights.test_recognition import LORAS

REPO = "someone/my-sdxl"
FOLDER = Path(".farm") / "models" / "my-sdxl"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with used_hub(monkeypatch, tmp_path) as hub:
        hub.repos[REPO] = sdxl()
        hub.licenses[REPO] = "apache-2.0"
        yield hub


def test_a_model_that_was_added_is_in_the_catalog_until_it_is_removed(
    hub: Hub, farm: Farm, tmp_path: Path
) -> None:
    said = farm("models", "add", f"hf:{REPO}").out
    assert "my-sdxl: SDXL in the layout of diffusers, 14 files" in said
    assert "next: `farm models show my-sdxl`" in said
    assert re.search(
        r"# From hf:someone/my-sdxl@c{40}, \d{4}-\d\d-\d\d\.", Path(".farm/catalog.yaml").read_text()
    )

    assert "my-sdxl" in farm("models").out
    shown = farm("models", "show", "my-sdxl").out
    assert "apache-2.0" in shown
    assert str(FOLDER.absolute()) in shown

    assert farm("models", "rm", "my-sdxl").code == 0
    assert not FOLDER.exists()
    assert "my-sdxl" not in farm("models").out


def test_a_dry_run_lists_files_and_bytes_and_fetches_nothing(hub: Hub, farm: Farm) -> None:
    said = farm("models", "add", f"hf:{REPO}", "--dry-run").out

    assert "unet/diffusion_pytorch_model.safetensors" in said
    assert "would fetch 14 files" in said
    assert not Path(".farm").exists()


def test_several_built_in_models_are_added_by_one_command(hub: Hub, farm: Farm) -> None:
    hub.repos["stabilityai/stable-diffusion-xl-base-1.0"] = sdxl()
    hub.repos["stable-diffusion-v1-5/stable-diffusion-v1-5"] = sd15()

    reports = json.loads(farm("models", "add", "sdxl", "sd15", "--json").out)

    assert [report["name"] for report in reports] == ["sdxl", "sd15"]


@pytest.mark.parametrize("option", ["--name", "--like", "--license"])
def test_options_of_one_entry_are_refused_for_several(option: str, hub: Hub, farm: Farm) -> None:
    ran = farm("models", "add", "sdxl", "sd15", option, "mit")

    assert (ran.code, "are for one model or LoRA" in ran.err) == (2, True)
    assert not hub.requests


def test_models_and_loras_are_added_by_one_command(hub: Hub, farm: Farm, tmp_path: Path) -> None:
    hub.repos["stabilityai/stable-diffusion-xl-base-1.0"] = sdxl()
    for name in ("ana", "bo"):
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors_bytes(LORAS["klein 9b"][1]))

    reports = json.loads(farm("models", "add", "sdxl", "ana.safetensors", "bo.safetensors", "--json").out)

    found = [(report["section"], report["name"]) for report in reports]
    assert found == [("models", "sdxl"), ("loras", "ana"), ("loras", "bo")]


def test_a_missing_file_is_found_before_anything_is_fetched(hub: Hub, farm: Farm) -> None:
    hub.repos["stabilityai/stable-diffusion-xl-base-1.0"] = sdxl()

    ran = farm("models", "add", "sdxl", "ana.safetensors")

    assert (ran.code, "ana.safetensors: no such file" in ran.err) == (1, True)
    assert not Path(".farm").exists()


def test_what_another_command_adds_meanwhile_stays(
    hub: Hub, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "z-Q8_0.gguf").write_bytes(z_image_gguf())
    own = CatalogFile(tmp_path / ".farm" / "catalog.yaml", ())
    q4 = {"path": "q4.gguf", "identity": f"sha256:{'4' * 64}"}

    @contextmanager
    def alone(*_: object) -> Iterator[None]:
        """The other one was first."""
        own.put("models", "z-image-turbo", {"like": "z-image-turbo", "gguf": {"gguf-q4": q4}})
        yield

    monkeypatch.setattr("coordinator.cli.adding.alone", alone)
    assert farm("models", "add", "z-Q8_0.gguf", "--like", "z-image-turbo").code == 0

    assert own.entries()["models"]["z-image-turbo"]["gguf"].keys() == {"gguf-q4", "gguf-q8"}


def test_changed_files_are_found_by_a_check(hub: Hub, farm: Farm) -> None:
    farm("models", "add", f"hf:{REPO}")
    good = farm("models", "check", "my-sdxl")
    assert (good.code, "ok  my-sdxl: matches the catalog" in good.out) == (0, True)

    with (FOLDER / "vae" / "config.json").open("a") as file:
        file.write(" ")

    wrong = farm("models", "check")
    assert wrong.code == 1
    assert "no  my-sdxl: " in wrong.out
    assert "differs from the catalog" in wrong.out


def test_json_tells_the_same_to_programs(hub: Hub, farm: Farm) -> None:
    added = json.loads(farm("models", "add", f"hf:{REPO}", "--json").out)
    shown = json.loads(farm("models", "show", "my-sdxl", "--json").out)
    checked = json.loads(farm("models", "check", "my-sdxl", "--json").out)

    assert shown["identity"] == added["entry"]["identity"]
    assert shown["files"] == len(added["files"])
    assert [report["good"] for report in checked] == [True]


def test_a_lora_goes_alone_and_a_model_that_it_needs_stays(hub: Hub, farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "ana.safetensors").write_bytes(safetensors_bytes(LORAS["sdxl kohya"][1]))
    farm("models", "add", f"hf:{REPO}")
    farm("models", "add", "ana.safetensors", "--like", "sdxl", "--license", "own-work")

    assert "ana" in farm("models").out
    assert farm("models", "rm", "ana").code == 0
    assert not Path(".farm/models/loras/ana.safetensors").exists()
    assert (tmp_path / "ana.safetensors").exists()
    assert FOLDER.exists()


def test_a_classifier_stays_while_a_lane_orders_it(farm: Farm, tmp_path: Path) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "classifier.weight": (2, 8),
        "vit.embeddings.patch_embeddings.projection.weight": (8, 3, 4, 4),
        "vit.embeddings.position_embeddings": (1, 5, 8),
        "vit.encoder.layer.0.attention.attention.query.weight": (8, 8),
    }
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / "model.safetensors").write_bytes(safetensors_bytes(shapes))
    (tmp_path / "safe" / "config.json").write_text('{"id2label": {"0": "fine", "1": "not fine"}}')
    assert "image classifier (vit: fine, not fine)" in farm("models", "add", "safe").out
    shown = farm("models", "show", "safe").out
    assert "fine, not fine" in shown
    assert "image classifier" in farm("models").out

    ordered = tmp_path / "farm.yaml"
    ordered.write_text("lanes: {family: {classifiers: {safe: {not fine: 0.5}}}}")
    kept = farm("models", "rm", "safe", "--settings", str(ordered))
    assert kept.code == 2
    assert "lane family of the settings orders `safe`" in " ".join(kept.err.split())
    ordered.unlink()
    assert farm("models", "rm", "safe").code == 0
