"""What of the catalog this node holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.catalog import Catalog, file_identity, folder_identity, load_catalog
from gpu_node.identity import Hashes
from gpu_node.library import Library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "models" / "stabilityai" / "stable-diffusion-xl-base-1.0"
    model.mkdir(parents=True)
    (model / "model_index.json").write_text("{}")
    lora = tmp_path / "models" / "loras" / "ana_v2.safetensors"
    lora.parent.mkdir()
    lora.write_bytes(b"lora")
    return tmp_path / "models"


def catalog_with(model_identity: str | None, lora_identity: str | None) -> Catalog:
    catalog = load_catalog()
    models = {
        "sdxl": replace(catalog.models["sdxl"], identity=model_identity),
        "sd15": catalog.models["sd15"],
    }
    return Catalog(models=models, loras={"ana_v2": replace(catalog.loras["ana_v2"], identity=lora_identity)})


def library(folder: Path, catalog: Catalog) -> Library:
    return Library(catalog, (folder,), Hashes(folder.parent / "hashes.json"))


def test_only_what_is_here_is_held(folder: Path) -> None:
    held = library(folder, catalog_with(None, None))

    assert [(one.name, one.verified, one.problem) for one in held.models()] == [("sdxl", False, "")]
    assert [(one.name, one.verified, one.problem) for one in held.loras()] == [("ana_v2", False, "")]
    assert held.model_folder("sd15") is None


def test_files_that_are_the_catalogs_are_verified(folder: Path) -> None:
    model = folder_identity(folder / "stabilityai" / "stable-diffusion-xl-base-1.0")
    lora = file_identity(folder / "loras" / "ana_v2.safetensors")
    held = library(folder, catalog_with(model, lora))

    assert [one.verified for one in held.models() + held.loras()] == [True, True]


def test_files_that_are_not_the_catalogs_have_a_problem(folder: Path) -> None:
    other = "sha256:" + "0" * 64

    held = library(folder, catalog_with(other, other))

    assert all("the catalog says" in one.problem for one in held.models() + held.loras())


def test_the_first_folder_that_has_a_model_wins(folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "second" / "stabilityai" / "stable-diffusion-xl-base-1.0"
    second.mkdir(parents=True)
    catalog = catalog_with(None, None)

    found = Library(catalog, (tmp_path / "second", folder), Hashes(tmp_path / "h.json")).model_folder("sdxl")

    assert found == second
