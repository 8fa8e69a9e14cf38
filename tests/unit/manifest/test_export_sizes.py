"""`output.sizes`: the files of each image."""

from __future__ import annotations

import pytest

from common.exports import Export
from tests.unit.manifest.test_parse_manifest import parse, problems


def manifest(output: str) -> str:
    return f"version: 1\nshots:\n- {{model: m, prompt: p}}\noutput: {output}\n"


def exports(output: str) -> tuple[Export, ...]:
    return parse(manifest(output)).manifest.output.exports


def test_sizes_have_names_and_take_over_how_they_are_filled() -> None:
    found = exports(
        '{sizes: [1024x1024, 2x, original, {name: banner, size: 1200 × 628, crop: pad, background: "#FFF"}], '
        'crop: center, background: "102030"}'
    )
    assert found == (
        Export(name="1024x1024", width=1024, height=1024, crop="center", background="102030"),
        Export(name="2x", scale=2, crop="center", background="102030"),
        Export(name="original", crop="center", background="102030"),
        Export(name="banner", width=1200, height=628, crop="pad", background="ffffff"),
    )
    assert [each.name for each in exports("{sizes: 0.5x}")] == ["0.5x"]
    assert exports("{}") == ()


def test_a_group_overrides_sizes_and_keeps_the_crop_of_the_manifest() -> None:
    read = parse(
        "version: 1\ndefaults: {model: m, prompt: p}\noutput: {sizes: [64x64], crop: pad}\n"
        "shots:\n- {name: a, output: {sizes: [32x32]}}\n- {name: b, output: {format: webp}}\n"
    ).manifest
    a, b = (read.output_of(group).exports for group in read.shots)
    assert [(each.name, each.crop) for each in (*a, *b)] == [("32x32", "pad"), ("64x64", "pad")]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "{sizes: [512]}",
            "output.sizes[0]: must be a size such as `512x512`, `2x` (up to 8x) or `original`",
        ),
        ("{sizes: [512]}", "; write `512x512`"),
        ("{sizes: [512*512]}", "; write `512x512`"),
        ("{sizes: [4x4]}", "must be a whole number from 16 to 16,384, not `4`"),
        ("{sizes: [99x]}", "`2x` (up to 8x)"),
        ("{sizes: []}", "must list 1 to 20 sizes, not 0"),
        ("{sizes: [64x64, 64X64]}", "output.sizes[1]: `64x64` is listed twice; give one of them a `name`"),
        ("{sizes: {thumb: 64x64}}", "write `[{name: thumb, size: 64x64}]`"),
        ("{sizes: [{name: thumb}]}", "output.sizes[0]: has no `size`; write one such as `size: 512x512`"),
        ("{sizes: [{size: 64x64, fit: pad}]}", "output.sizes[0].fit: unknown key `fit`"),
        ("{sizes: [64x64], crop: contain}", "output.crop: must be `smart`, `center` or `pad`, not `contain`"),
        ("{sizes: [64x64], crop: contain}", "; write `pad`"),
        ("{sizes: [64x64], background: white}", '; write `"#ffffff"`'),
        ("{sizes: [64x64], colour: '#fff'}", "unknown key `colour`; write `background:"),
        ("{resize: 64x64}", "unknown key `resize`; write `sizes: 64x64`"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(output: str, said: str) -> None:
    (problem,) = problems(manifest(output))
    assert said in f"{problem.path}: {problem.message}"
    assert (problem.line, problem.column > 9) == (4, True)


def test_keys_without_sizes_have_no_effect() -> None:
    (warning,) = parse(manifest("{crop: pad}")).warnings
    assert warning.message == "has no effect without `sizes`; list them, or remove it"
    assert parse(manifest("{crop: pad, sizes: [64x64]}")).warnings == ()
