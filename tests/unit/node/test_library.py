"""What of the catalog this node holds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog, GgufFile, file_identity, folder_identity, load_catalog
from gpu_node.cache import ModelCache
from gpu_node.identity import Hashes
from gpu_node.library import Library, Need

PASCAL, AMPERE = REFERENCE_CARDS[8], REFERENCE_CARDS[12]


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

    assert [(one.name, one.verified, one.problem) for one in held.models(AMPERE)] == [("sdxl", False, "")]
    assert [(one.name, one.verified, one.problem) for one in held.loras()] == [("ana_v2", False, "")]
    assert held.model_folder("sd15") is None


def test_files_that_are_the_catalogs_are_verified(folder: Path) -> None:
    model = folder_identity(folder / "stabilityai" / "stable-diffusion-xl-base-1.0")
    lora = file_identity(folder / "loras" / "ana_v2.safetensors")
    held = library(folder, catalog_with(model, lora))

    assert [one.verified for one in held.models(AMPERE) + held.loras()] == [True, True]


def test_files_that_are_not_the_catalogs_have_a_problem(folder: Path) -> None:
    other = "sha256:" + "0" * 64

    held = library(folder, catalog_with(other, other))

    assert all("the catalog has" in one.problem for one in held.models(AMPERE) + held.loras())


def test_the_first_folder_that_has_a_model_wins(folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "second" / "stabilityai" / "stable-diffusion-xl-base-1.0"
    second.mkdir(parents=True)
    catalog = catalog_with(None, None)

    found = Library(catalog, (tmp_path / "second", folder), Hashes(tmp_path / "h.json")).model_folder("sdxl")

    assert found == second


@pytest.mark.parametrize("way", ["absolute", "up", "the folder itself"])
def test_a_farm_learns_nothing_of_files_outside_the_folders(folder: Path, way: str) -> None:
    outside = folder.parent / "private"
    outside.mkdir()
    (outside / "model_index.json").write_text("{}")
    path = {"absolute": str(outside), "up": "../private", "the folder itself": "."}[way]
    catalog = catalog_with(None, None)
    lora = replace(catalog.loras["ana_v2"], path=f"{outside}/model_index.json")
    served = Catalog(models={"sdxl": replace(catalog.models["sdxl"], path=path)}, loras={"ana_v2": lora})
    held = library(folder, served)

    assert (held.models(AMPERE), held.loras()) == ([], [])
    assert (held.model_folder("sdxl"), held.lora_file("ana_v2")) == (None, None)
    assert (held.stamp("sdxl"), held.stamp("ana_v2")) == (frozenset(), frozenset())


def test_absolute_paths_count_in_the_folders_and_in_catalogs_of_the_machine(folder: Path) -> None:
    catalog = catalog_with(None, None)
    here = folder / "stabilityai" / "stable-diffusion-xl-base-1.0"
    named = Catalog(models={"sdxl": replace(catalog.models["sdxl"], path=str(here))}, loras={})

    assert library(folder, named).model_folder("sdxl") == here
    elsewhere = (folder / "loras",)
    assert Library(named, elsewhere, Hashes(folder / "h.json")).model_folder("sdxl") is None
    own = Library(named, elsewhere, Hashes(folder / "h.json"), own_catalog=True)
    assert own.model_folder("sdxl") == here


@pytest.fixture
def turbo(tmp_path: Path) -> Library:
    """A node that holds the folder of a model of which two recipes need a file more."""
    model = tmp_path / "Tongyi-MAI" / "Z-Image-Turbo"
    model.mkdir(parents=True)
    (model / "model_index.json").write_text("{}")
    (tmp_path / "gguf").mkdir()
    return turbo_library(tmp_path, file_content=b"quantised")


def turbo_library(folder: Path, file_content: bytes | None) -> Library:
    """The catalog names the file that has this content; None: it names none."""
    model = load_catalog().models["z-image-turbo"]
    digest = hashlib.sha256(file_content or b"").hexdigest()
    files = {"gguf-q4": GgufFile(path="turbo-q4.gguf", identity=f"sha256:{digest}")}
    # As of a model whose files are fixed: no file of another format is listed.
    recipes = tuple(one for one in model.recipes if not one.reads_gguf or one.quantisation in files)
    named = replace(model, recipes=recipes, gguf=files if file_content is not None else {})
    return Library(Catalog(models={model.name: named}, loras={}), (folder,), Hashes(folder / "hashes.json"))


def test_a_card_that_needs_a_file_which_is_not_here_is_not_offered_the_model(turbo: Library) -> None:
    (held,) = turbo.models(PASCAL)

    assert held.problem == (
        "z-image-turbo: recipe gguf-q4-fp32 needs gguf/turbo-q4.gguf, "
        "which is missing in the model folders of this node"
    )


def test_a_card_with_other_recipes_is_offered_the_model_without_these(turbo: Library) -> None:
    (held,) = turbo.models(AMPERE)

    assert held.problem == ""
    assert set(held.missing_recipes) == {"gguf-q4-small", "gguf-q4-fp32"}


def test_a_model_with_its_file_is_held_by_every_recipe(turbo: Library, tmp_path: Path) -> None:
    (tmp_path / "gguf" / "turbo-q4.gguf").write_bytes(b"quantised")

    for card in (PASCAL, AMPERE):
        (held,) = turbo.models(card)
        assert (held.problem, held.missing_recipes) == ("", {})


def test_a_file_that_is_not_the_catalogs_is_as_good_as_none(turbo: Library, tmp_path: Path) -> None:
    (tmp_path / "gguf" / "turbo-q4.gguf").write_bytes(b"other")
    (old,), (new,) = turbo.models(PASCAL), turbo.models(AMPERE)

    assert "the catalog has" in old.problem
    assert (new.problem, set(new.missing_recipes)) == ("", {"gguf-q4-small", "gguf-q4-fp32"})


def test_a_recipe_for_which_the_catalog_names_no_file_is_missing(turbo: Library, tmp_path: Path) -> None:
    (held,) = turbo_library(tmp_path, file_content=None).models(PASCAL)

    assert "needs a gguf-q4 file, but the catalog lists none" in held.problem


OTHER = "sha256:" + "0" * 64


def fetching(folder: Path, catalog: Catalog, limit: int = 1000) -> Library:
    """A library whose farm has what is asked for, of 1000 bytes."""
    hashes = Hashes(folder.parent / "hashes.json")
    return Library(catalog, (folder,), hashes, ModelCache(folder.parent / "cache", limit), {OTHER: 1000})


def test_what_the_farm_has_is_offered_in_place_of_files_that_are_wrong(folder: Path) -> None:
    held = fetching(folder, catalog_with(OTHER, OTHER))

    assert [(one.name, one.fetches, one.problem) for one in held.models(AMPERE)] == [("sdxl", True, "")]
    assert [(one.name, one.fetches, one.problem) for one in held.loras()] == [("ana_v2", True, "")]
    assert (held.model_folder("sdxl"), held.lora_file("ana_v2")) == (None, None)
    assert held.needs("sdxl", "fp16", ["ana_v2"]) == [
        Need("sdxl", OTHER, size=1000),
        Need("ana_v2", OTHER, "ana_v2.safetensors", 1000),
    ]


def test_what_is_larger_than_the_limit_of_the_disk_is_not_offered(folder: Path) -> None:
    (held,) = fetching(folder, catalog_with(OTHER, None), limit=999).models(AMPERE)

    assert "download the model again" in held.problem


def test_what_is_here_is_not_fetched(folder: Path) -> None:
    catalog = catalog_with(folder_identity(folder / "stabilityai" / "stable-diffusion-xl-base-1.0"), None)
    held = fetching(folder, catalog)
    held.models(AMPERE)
    held.loras()

    assert held.needs("sdxl", "fp16", ["ana_v2"]) == []


def test_files_in_the_cache_are_verified(folder: Path) -> None:
    held = fetching(folder, catalog_with(OTHER, OTHER))
    cached = folder.parent / "cache" / "folders" / ("0" * 64)
    cached.mkdir(parents=True)
    held.models(AMPERE)
    held.loras()

    assert [(one.path, one.verified, one.fetches) for one in held.models(AMPERE)] == [(cached, True, False)]
    assert held.model_folder("sdxl") == cached
    assert held.lora_file("ana_v2") == cached / "ana_v2.safetensors"
    assert held.cached("sdxl", ["ana_v2"]) == {OTHER}
