"""Every manifest that people copy is valid, plans, and is what editors accept."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from common.catalog import Catalog, load_catalog
from common.document.typed import plain
from common.document.yaml12 import read_yaml
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.parse import ParsedManifest, parse_manifest
from common.manifest.schema import manifest_schema
from common.work import work_of
from coordinator.expand import Expansion, check_names, expand

FOLDER = Path(__file__).parents[3] / "manifests"
EDITOR_LINE = "# yaml-language-server: $schema=manifest.schema.json\n"

#: Pictures that the comment of each example promises.
SHOTS = {
    "ab-grid.yaml": 36,
    "demo.yaml": 30,
    "lora-persona-scenes.yaml": 300,
    "model-comparison.yaml": 24,
    "persona-campaign.yaml": 72,
    "product-catalogue.yaml": 70,
    "stress-100k.yaml": 100_000,
    "styles.yaml": 24,
    "tea-posters.yaml": 40,
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def parsed(name: str, catalog: Catalog) -> ParsedManifest:
    content = (FOLDER / name).read_bytes()
    return parse_manifest(content, source=name, files=FileReader(FOLDER), catalog=catalog)


def expansion(name: str, catalog: Catalog) -> Expansion:
    return expand(parsed(name, catalog), catalog)


def test_every_example_is_tested_and_in_the_index() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} - {"demo-farm.yaml"} == set(SHOTS)
    index = (FOLDER / "README.md").read_text()
    assert [name for name, shots in SHOTS.items() if f"| [`{name}`]({name}) | {shots:,} |" not in index] == []


@pytest.mark.parametrize("name", SHOTS)
def test_an_example_makes_the_pictures_it_promises(name: str, catalog: Catalog) -> None:
    assert len(expansion(name, catalog)) == SHOTS[name]
    assert f"{SHOTS[name]} images" in (FOLDER / name).read_text() or SHOTS[name] == 100_000


@pytest.mark.parametrize("name", SHOTS)
def test_an_example_says_in_one_line_which_models_and_loras_to_add_first(name: str, catalog: Catalog) -> None:
    said = [line for line in (FOLDER / name).read_text().splitlines() if "farm models add" in line]
    needed = set(expansion(name, catalog).unidentified)
    assert len(said) == bool(needed)
    words = said[0].removeprefix("# Before the first render: farm models add ").split() if said else []
    assert {word.removesuffix(".safetensors") for word in words} == needed


@pytest.mark.parametrize("name", SHOTS)
def test_an_example_has_nothing_to_warn_of_but_rounded_sizes(name: str, catalog: Catalog) -> None:
    found = parsed(name, catalog)
    assert not found.warnings
    assert all("is rounded to" in warning.message for warning in expand(found, catalog).warnings)


@pytest.mark.parametrize("name", [name for name, shots in SHOTS.items() if shots <= 1000])
def test_the_pictures_and_names_of_an_example_are_unique(name: str, catalog: Catalog) -> None:
    shots = expansion(name, catalog)
    check_names(shots)
    assert len({shot.name for shot in shots}) == len({shot.id for shot in shots}) == len(shots)


@pytest.mark.parametrize("name", SHOTS)
def test_an_example_is_equal_after_its_files_are_put_in(name: str, catalog: Catalog) -> None:
    found = parsed(name, catalog)
    again = parse_manifest(inlined(found), source="inlined", files=None, catalog=catalog)
    assert again.manifest == found.manifest


@pytest.mark.parametrize("name", SHOTS)
def test_an_example_names_its_schema_and_follows_it(name: str) -> None:
    assert (FOLDER / name).read_text().startswith(EDITOR_LINE)
    text, _ = read_yaml((FOLDER / name).read_bytes(), name)
    Draft202012Validator(manifest_schema()).validate(plain(text.root))


@pytest.mark.parametrize("path", sorted((FOLDER / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_preset_that_is_shared_plans_alone(path: Path, catalog: Catalog) -> None:
    names = list(plain(read_yaml(path.read_bytes(), path.name)[0].root)["presets"])
    content = (
        f"version: 1\nextends: presets/{path.name}\n"
        f"shots: [{{model: sdxl, prompt: a red mug, axes: {{preset: {names}}}}}]\n"
    )
    found = parse_manifest(content, source="m", files=FileReader(FOLDER), catalog=catalog)
    assert not found.warnings
    assert all("a red mug" in planned.shot.prompt for planned in expand(found, catalog))


def test_the_demo_has_several_kinds_of_work_and_needs_a_large_card(catalog: Catalog) -> None:
    shots = [planned.shot for planned in expansion("demo.yaml", catalog)]
    assert 24 <= len(shots) <= 48
    assert len({work_of(shot, catalog.models[shot.model]) for shot in shots}) >= 3
    assert any(shot.loras for shot in shots)
    assert {catalog.models[shot.model].min_class for shot in shots} == {0, 24}
