"""References are held against what a group knows, together with every other problem of a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.errors import InvalidDocument
from common.manifest.files import FileReader
from common.manifest.parse import ParsedManifest, parse_manifest
from tests.unit.expand.making import group


def parsed(manifest: str, files: FileReader | None = None) -> ParsedManifest:
    return parse_manifest(manifest, source="m.yaml", files=files, catalog=load_catalog())


def told(manifest: str, files: FileReader | None = None) -> list[str]:
    """Path and message of every problem."""
    with pytest.raises(InvalidDocument) as caught:
        parsed(manifest, files)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_references_are_told_together_with_keys_files_models_zips_and_limits(tmp_path: Path) -> None:
    manifest = """\
version: 1
limts: {max_images: 5}
defaults: {prompt: "{thng} on {bg}"}
shots:
- name: a
  model: z-image-trubo
  stps: 4
  loras: [nobody]
  axes: {thing: [mug, lamp], bg: {file: nothing.txt}, n: {from: 1, to: 9000}, m: [x, y, z]}
  zip: [[thing, m]]
  exclude: [{thign: mug}]
  negative: "{bg.look}, {m.look}"
  output: {name: "{thing}-{sed}"}
"""
    found = told(manifest, FileReader(tmp_path))
    for words in (
        "limts: unknown key `limts`: did you mean `limits`?",
        "defaults.prompt: unknown reference {thng}: did you mean `thing`?",
        "shots[0].model: unknown model `z-image-trubo`: did you mean `z-image-turbo`?",
        "shots[0].stps: unknown key `stps`: did you mean `steps`?",
        "shots[0].loras[0]: unknown LoRA `nobody`",
        "shots[0].axes.bg: file `nothing.txt` does not exist",
        "shots[0].zip: zipped axes must have the same number of values: `thing` has 2, `m` has 3",
        "shots[0].exclude[0].thign: unknown axis `thign`: did you mean `thing`?",
        "shots[0].negative: {m.look}: `x` is plain text without fields; write `{m}`",
        "shots[0].output.name: unknown reference {sed}: did you mean `seed`?",
        "shots[0]: requests 18,000 images",
    ):
        assert any(line.startswith(words) for line in found), (words, found)
    assert len(found) == 11


@pytest.mark.parametrize(
    "axis",
    ["[]", "white", "{from: 1}", "{file: gone.txt}", "{size: x}", "[{look: a, size: nothing}]", "", "[[a]]"],
)
def test_a_reference_to_a_broken_axis_is_not_wrong_too(axis: str) -> None:
    (problem,) = told(
        group(f"axes: {{thing: {axis}, b: [x]}}", prompt="'{thing} {thing.look} {b}'", model="sdxl")
    )
    assert problem.startswith("shots[0].axes.thing")


@pytest.mark.parametrize("lines", ["axs: {thing: [a]}", "axes: [thing]", "axes: thing"])
def test_axes_that_cannot_be_told_make_no_reference_wrong(lines: str) -> None:
    (problem,) = told(group(lines, prompt="'{thing}'", model="sdxl"))
    assert "reference" not in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{Thing}", "unknown reference {Thing}: did you mean `thing`?"),
        ("{look}", "unknown reference {look}: did you mean `who.look`?"),
        ("{who.lok}", "{who.lok}: no value of `who` has a field `lok`: did you mean `look`?"),
        ("{thing.look}", "{thing.look}: `mug` is plain text without fields; write `{thing}`"),
        ("{blueprnt.trigger}", "unknown reference {blueprnt.trigger}: did you mean `blueprint`?"),
        ("{seed}", "{seed} is available only in `output.name`; leave it out"),
        ("{thіng}", "unknown reference {thіng}: `і` is U+0456, Cyrillic; write `thing`"),
        ("{a|{thng}}", "unknown reference {thng}: did you mean `thing`?"),
    ],
)
@pytest.mark.parametrize("where", ["prompt", "negative", "axis", "mapping", "include"])
def test_a_reference_is_checked_wherever_a_prompt_is_set(text: str, words: str, where: str) -> None:
    axes = "thing: [mug], who: [{name: ana, look: red}]"
    lines = {
        "prompt": [f"prompt: '{text}'", f"axes: {{{axes}}}"],
        "negative": [f"negative: '{text}'", f"axes: {{{axes}}}"],
        "axis": [f"axes: {{{axes}, prompt: ['{text}', y]}}"],
        "mapping": [f"axes: {{{axes}, how: [{{name: a, prompt: '{text}'}}]}}"],
        "include": [f"axes: {{{axes}}}", f"include: [{{thing: mug, prompt: '{text}'}}]"],
    }[where]
    prompt = "" if where in ("prompt", "axis") else "x"
    (problem,) = told(group(*lines, prompt=prompt, model="sdxl"))
    assert problem.endswith(words)
