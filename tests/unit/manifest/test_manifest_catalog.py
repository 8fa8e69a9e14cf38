"""What a manifest asks for is checked against the models and LoRAs of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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


@pytest.mark.parametrize(
    "lines",
    [
        ["model: house-sdxl", "loras: [ink]", "sampler: ddim"],
        # Searched in linear time.
        ["negative: (:" + "1" * 200_000, "model: sdxl"],
    ],
)
def test_what_the_catalog_knows_is_right(catalog: Catalog, lines: list[str]) -> None:
    assert found(catalog, *lines) == ([], [])


def test_a_model_that_every_value_of_an_axis_replaces_is_not_asked_for(catalog: Catalog) -> None:
    top = "defaults: {model: no-such}\n"
    assert messages(catalog, "axes: {model: [sdxl, sd15]}", top=top) == []
    assert messages(catalog, "model: sdxl", top=top) == []
    ((path, _),) = messages(catalog, "axes: {on: [{model: sdxl}, {name: default}]}", top=top)
    assert path == "defaults.model"


@pytest.mark.parametrize(
    ("lines", "top", "path", "fragment"),
    [
        (["model: flux2-klein-9b"], "", "shots[0].model", "model `flux2-klein-9b` has the licence"),
        (["model: sdxl", "loras: [study]"], "", "shots[0].loras[0]", "LoRA `study` has the licence"),
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


def test_the_same_finding_in_defaults_is_told_once(catalog: Catalog) -> None:
    content = "version: 1\ndefaults: {model: sdlx, prompt: p}\nshots: [{name: a}, {name: b}]\n"
    with pytest.raises(InvalidDocument) as caught:
        parse_manifest(content, source="m.yaml", files=None, catalog=catalog)
    assert [problem.path for problem in caught.value.problems] == ["defaults.model"]


def test_weights_are_plain_text_for_the_first_model_that_may_read_them(catalog: Catalog) -> None:
    shots = "- {model: shotfarm-demo, prompt: a (red:1.3) cat}\n- {model: z-image, prompt: a (red:1.3) cat}\n"
    parsed = parse_manifest(f"version: 1\nshots:\n{shots}", source="m.yaml", files=None, catalog=catalog)
    (warning,) = parsed.warnings
    assert warning.line == 3
    assert warning.message.startswith(
        "`(red:1.3)` is plain text for `shotfarm-demo`: it does not support weights"
    )
    assert warning.message.endswith(" (2 times, first here)")


@pytest.mark.parametrize("text", ["a (red:1.3) cat", "a ((red)) cat", "a cat BREAK a dog", r"a \(red\) cat"])
@pytest.mark.parametrize(
    ("model", "told"),
    [("sd15", ""), ("sdxl", ""), ("z-image", "z-image"), ("axes: {model: [sdxl, flux1-dev]}", "flux1-dev")],
)
def test_emphasis_is_plain_text_for_models_that_do_not_read_it(
    catalog: Catalog, text: str, model: str, told: str
) -> None:
    line = model if ":" in model else f"model: {model}"
    content = f"version: 1\nshots:\n- prompt: '{text}'\n  {line}\n"
    parsed = parse_manifest(content, source="m.yaml", files=None, catalog=catalog)
    assert [f"is plain text for `{told}`" in each.message for each in parsed.warnings] == [True] * bool(told)


@pytest.mark.parametrize("text", ["[a:b:0.5]", "[a|b]", "(a)++", "a AND b", "a ADDCOMM b"])
def test_what_not_even_stable_diffusion_reads_is_told(catalog: Catalog, text: str) -> None:
    content = f"version: 1\nshots: [{{model: sdxl, prompt: '{text}'}}]\n"
    (warning,) = parse_manifest(content, source="m.yaml", files=None, catalog=catalog).warnings
    assert "is plain text for `sdxl`" in warning.message


def test_without_a_catalog_any_name_passes() -> None:
    content = "version: 1\nshots: [{model: anything, prompt: p, loras: [unheard-of]}]\n"
    assert parse_manifest(content, source="m.yaml", files=None).manifest.shots[0].model == "anything"


@pytest.mark.parametrize(
    ("lines", "path", "words"),
    [
        (
            ["model: sdxl", "sampler: eular"],
            "shots[0].sampler",
            "`sdxl` has no sampler `eular`: did you mean",
        ),
        (
            ["model: sdxl", "sampler: res_multistep"],
            "shots[0].sampler",
            "`sdxl` has no sampler `res_multistep`; write `dpmpp_2m`, the nearest that it has",
        ),
        (["model: sdxl", "shift: 3"], "shots[0].shift", "`sdxl` does not take `shift`"),
        (["model: z-image", "blind_steps: 9"], "shots[0].blind_steps", "must be 0 to 2"),
        (["model: z-image", "clip_skip: 2"], "shots[0].clip_skip", "does not take `clip_skip`; leave it out"),
        (["model: sd15", "loras: [ink]"], "shots[0].loras", "was made for `sdxl` and cannot work on `sd15`"),
        (["axes: {model: [sdxl, sdx]}"], "shots[0].axes.model[1]", "`sdx`: did you mean `sdxl`?"),
        (
            ["model: sdxl", "axes: {who: [{name: a, loras: [inc]}]}"],
            "shots[0].axes.who[0].loras[0]",
            "`inc`: did you mean `ink`?",
        ),
        (["axes: {model: [sdxl, sd15], shift: [3]}"], "shots[0].axes.shift[0]", "does not take `shift`"),
    ],
)
def test_what_the_catalog_or_none_of_the_models_has_is_told_with_the_other_problems(
    catalog: Catalog, lines: list[str], path: str, words: str
) -> None:
    found = messages(catalog, *lines, "stps: 4", "negative: '{thng}'")
    assert [where for where, _ in found] == sorted(
        [path, "shots[0].negative", "shots[0].stps"], key=_line(lines)
    )
    assert words in dict(found)[path]


def _line(lines: list[str]) -> Callable[[str], int]:
    order = [line.partition(":")[0] for line in [*lines, "stps: 4", "negative: x"]]
    return lambda path: order.index(path.partition("].")[2].partition(".")[0])


@pytest.mark.parametrize(
    "lines",
    [
        ["sampler: nothing", "model: sdxl", "axes: {sampler: [euler, ddim]}"],
        ["axes: {on: [{model: sdxl, sampler: ddim}, {model: z-image, shift: 3}]}"],
        ["axes: {model: [sdxl, z-image]}", "shift: 3"],
    ],
)
def test_what_one_of_the_models_takes_is_left_to_each_combination(catalog: Catalog, lines: list[str]) -> None:
    assert found(catalog, *lines)[0] == []


def test_a_lora_whose_file_does_not_fit_is_refused_at_its_line_with_the_remedy(catalog: Catalog) -> None:
    judging = replace(catalog, judge=lambda lora, model: f"{lora.name} is odd; use another")

    ((problem,), _) = found(judging, "model: house-sdxl", "loras: [ink]")

    assert problem.message == "LoRA `ink` cannot work on `house-sdxl`: ink is odd; use another"
    assert (problem.path, problem.line) == ("shots[0].loras", 5)


def test_a_lora_for_another_base_is_not_judged_by_its_file(catalog: Catalog) -> None:
    judging = replace(catalog, judge=lambda lora, model: "never said")

    ((problem,), _) = found(judging, "model: sd15", "loras: [ink]")

    assert "was made for `sdxl`" in problem.message
