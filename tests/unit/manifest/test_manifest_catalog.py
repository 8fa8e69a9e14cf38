"""What a manifest asks for is checked against the models and LoRAs of the catalog."""

from __future__ import annotations

import pytest

from common.catalog import Catalog, load_catalog
from common.errors import InvalidDocument, Problem
from common.manifest.parse import parse_manifest

MORE = """
models:
  house-sdxl: {like: sdxl, base: sdxl}
loras:
  ink: {base: sdxl, path: ink.safetensors, license: apache-2.0}
  study: {base: sdxl, path: study.safetensors, license: flux-non-commercial}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    file = tmp_path_factory.mktemp("catalog") / "more.yaml"
    file.write_text(MORE)
    return load_catalog([file])


def found(catalog: Catalog, *lines: str, top: str = "") -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings of one group with these lines, which start in line 4."""
    content = "\n  ".join(("version: 1\nshots:\n- prompt: a cat", *lines)) + f"\n{top}"
    try:
        return [], list(parse_manifest(content, source="m.yaml", files=None, catalog=catalog).warnings)
    except InvalidDocument as error:
        return list(error.problems), []


def messages(catalog: Catalog, *lines: str, top: str = "") -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in found(catalog, *lines, top=top)[0]]


def test_a_manifest_that_the_catalog_knows_is_right(catalog: Catalog) -> None:
    assert found(catalog, "model: house-sdxl", "loras: [ink]", "sampler: ddim") == ([], [])


def test_an_unknown_model_of_an_axis_is_named_at_its_value(catalog: Catalog) -> None:
    ((path, message),) = messages(catalog, "axes: {model: [sdxl, sdx]}")
    assert path == "shots[0].axes.model[1]"
    assert message == "unknown model `sdx`: did you mean `sdxl`?"


def test_a_lora_of_another_base_is_refused(catalog: Catalog) -> None:
    ((path, message),) = messages(catalog, "model: z-image", "loras: [ink@0.5]")
    assert path == "shots[0].loras"
    assert message == "LoRA `ink` is for sdxl; model `z-image` takes those for z-image"


def test_a_lora_of_the_group_must_fit_every_model_of_its_axis(catalog: Catalog) -> None:
    ((_, message),) = messages(catalog, "loras: [ink]", "axes: {model: [sdxl, z-image]}")
    assert "model `z-image`" in message


def test_a_lora_beside_its_model_in_one_value_is_checked_against_that_model(catalog: Catalog) -> None:
    value = "{name: a, model: %s, loras: [ink]}"
    assert messages(catalog, f"axes: {{who: [{value % 'sdxl'}, {{model: z-image}}]}}") == []
    ((path, _),) = messages(catalog, f"axes: {{who: [{value % 'sd15'}, {{model: sdxl}}]}}")
    assert path == "shots[0].axes.who[0].loras"


def test_a_lora_of_one_axis_need_not_fit_every_model_of_another(catalog: Catalog) -> None:
    axes = "axes: {model: [sdxl, %s], loras: [ink]}"
    assert messages(catalog, axes % "z-image") == []
    ((path, _),) = messages(catalog, "axes: {model: [sd15, z-image], loras: [ink]}")
    assert path == "shots[0].axes.loras[0]"


def test_defaults_that_every_value_of_an_axis_replaces_are_not_met(catalog: Catalog) -> None:
    top = "defaults: {model: z-image, sampler: ddim}\n"
    assert messages(catalog, "axes: {model: [sdxl, sd15]}", top=top) == []
    ((path, _),) = messages(catalog, "axes: {bg: [x, y]}", top=top)
    assert path == "defaults.sampler"


@pytest.mark.parametrize(
    ("lines", "top", "path", "fragment"),
    [
        (["model: flux2-klein-9b"], "", "shots[0].model", "model `flux2-klein-9b` has the licence"),
        (["model: sdxl", "loras: [study]"], "", "shots[0].loras", "LoRA `study` has the licence"),
        (["axes: {model: [sdxl, flux2-klein-9b]}"], "", "shots[0].axes.model[1]", "forbids commercial use"),
        ([], "defaults: {model: flux2-klein-9b}\n", "defaults.model", "forbids commercial use"),
    ],
)
def test_commercial_use_needs_licences_that_allow_it(
    catalog: Catalog, lines: list[str], top: str, path: str, fragment: str
) -> None:
    ((where, message),) = messages(catalog, *lines, top=f"use: commercial\n{top}")
    assert where == path
    assert fragment in message
    assert messages(catalog, *lines, top=f"use: noncommercial\n{top}") == []


@pytest.mark.parametrize(
    ("lines", "path", "message"),
    [
        (
            ["model: z-image", "sampler: ddim"],
            "shots[0].sampler",
            "model `z-image` has no sampler `ddim`; known are `euler`",
        ),
        (
            ["model: z-image", "axes: {shift: [1, 20]}"],
            "shots[0].axes.shift[1]",
            "must be from 1 to 12 for model `z-image`, not 20",
        ),
        (
            ["model: sd15", "axes: {w: [{name: a, blind_steps: 1}]}"],
            "shots[0].axes.w[0].blind_steps",
            "model `sd15` has no setting `blind_steps`; of these it has none",
        ),
    ],
)
def test_samplers_and_knobs_are_those_of_the_family(
    catalog: Catalog, lines: list[str], path: str, message: str
) -> None:
    assert messages(catalog, *lines) == [(path, message)]


def test_the_same_finding_in_defaults_is_told_once(catalog: Catalog) -> None:
    content = "version: 1\ndefaults: {model: sdlx, prompt: p}\nshots: [{name: a}, {name: b}]\n"
    with pytest.raises(InvalidDocument) as caught:
        parse_manifest(content, source="m.yaml", files=None, catalog=catalog)
    assert [problem.path for problem in caught.value.problems] == ["defaults.model"]


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("negative: blurry", "ignores negative prompts"),
        ("negative: (blurry:1.2)", "`(blurry:1.2)` is plain text"),
    ],
)
def test_what_a_family_ignores_is_warned_of(catalog: Catalog, line: str, fragment: str) -> None:
    problems, warnings = found(catalog, "model: flux2-klein-4b", line)
    assert not problems
    assert any(fragment in warning.message and warning.line == 5 for warning in warnings)


def test_weights_and_break_in_a_prompt_are_placed(catalog: Catalog) -> None:
    content = "version: 1\nshots:\n- model: sdxl\n  prompt: a (red:1.3) cat BREAK a dog\n"
    warnings = parse_manifest(content, source="m.yaml", files=None, catalog=catalog).warnings
    assert [(w.line, w.column) for w in warnings] == [(4, 13), (4, 27)]


def test_without_a_catalog_any_name_passes() -> None:
    content = "version: 1\nshots: [{model: anything, prompt: p, loras: [unheard-of]}]\n"
    assert parse_manifest(content, source="m.yaml", files=None).manifest.shots[0].model == "anything"
