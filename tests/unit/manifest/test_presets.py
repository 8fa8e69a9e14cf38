"""`presets`: what a shot is made with, by name, from the manifest or from files of styles."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.errors import InvalidDocument
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.parse import ParsedManifest, parse_manifest
from common.shot import Shot
from coordinator.expand import expand

CATALOG = load_catalog()


def parse(folder: Path, content: str) -> ParsedManifest:
    whole = f"version: 1\n{content}\n"
    return parse_manifest(whole, source="m.yaml", files=FileReader(folder), catalog=CATALOG)


def shots(folder: Path, content: str) -> list[Shot]:
    """Of a manifest, which are the same when it is sent as one text."""
    parsed = parse(folder, content)
    again = parse_manifest(inlined(parsed), source="again", files=None, catalog=CATALOG)
    assert again.manifest == parsed.manifest
    return [planned.shot for planned in expand(parsed, CATALOG)]


def prompts(folder: Path, content: str) -> list[str]:
    return [shot.prompt for shot in shots(folder, content)]


STYLES = """\
presets:
  film: {prompt: "still of {prompt}, grain", negative: "drawing, {negative}", steps: 7}
  print: {prompt: "poster of {prompt}", size: 64x96, loras: [blueprint@0.5]}
  night: {prompt: "{prompt} at night", guidance: 2, negative: day}
  plain: {}
defaults: {model: shotfarm-demo, negative: blurry}
"""


def test_the_place_goes_over_its_preset_and_a_preset_over_what_was_before(tmp_path: Path) -> None:
    (shot,) = shots(tmp_path, f"{STYLES}shots: [{{prompt: mug, preset: [film, night], guidance: 3}}]")
    assert (shot.steps, shot.guidance) == (7, 3)
    (shot,) = shots(
        tmp_path, STYLES.replace("blurry}", "x, steps: 4}") + "shots: [{prompt: p, preset: film}]"
    )
    assert shot.steps == 7


@pytest.mark.parametrize(
    ("shot", "prompt", "negative"),
    [
        ("{prompt: a mug, preset: film}", "still of a mug, grain", "drawing, blurry"),
        ("{prompt: a mug, preset: [film, night]}", "still of a mug, grain at night", "drawing, day"),
        ("{prompt: a mug, preset: [night, film]}", "still of a mug at night, grain", "drawing, day"),
        ("{prompt: a mug, preset: []}", "a mug", "blurry"),
        ("{prompt: a mug, preset: plain}", "a mug", "blurry"),
        ("{prompt: '{x}', axes: {x: [{name: a, preset: film}]}}", "still of a, grain", "drawing, blurry"),
        (
            "{prompt: a mug, preset: night, axes: {preset: [film]}}",
            "still of a mug at night, grain",
            "drawing, day",
        ),
        (
            "{prompt: a mug, axes: {x: [1]}, include: [{x: 1, preset: film}]}",
            "still of a mug, grain",
            "drawing, blurry",
        ),
        (
            "{prompt: a mug, axes: {x: [{prompt: '{prompt}, {x.y}', y: oak, preset: film}]}}",
            "still of a mug, oak, grain",
            "drawing, blurry",
        ),
        (
            "{prompt: a mug, axes: {a: [{prompt: '{prompt} 1'}], b: [{prompt: '{prompt} 2'}]}}",
            "a mug 1 2",
            "blurry",
        ),
        (
            "{prompt: 'a {c} mug', axes: {c: [red], preset: [film]}}",
            "still of a red mug, grain",
            "drawing, blurry",
        ),
        (
            "{prompt: a mug, axes: {preset: [[film, night]]}}",
            "still of a mug, grain at night",
            "drawing, day",
        ),
        ("{prompt: '\\{prompt\\}', preset: film}", "still of {prompt}, grain", "drawing, blurry"),
    ],
)
def test_a_prompt_that_mentions_one_is_put_around_it(
    shot: str, prompt: str, negative: str, tmp_path: Path
) -> None:
    (made,) = shots(tmp_path, f"{STYLES}shots: [{shot}]")
    assert (made.prompt, made.negative) == (prompt, negative)


DRAWN = STYLES.replace("still of", "{old|new} still of")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # A preset of the defaults is put around the prompt of each group.
        (
            STYLES.replace("blurry}", "blurry, preset: film}") + "shots: [{prompt: a}, {prompt: b}]",
            ["still of a, grain", "still of b, grain"],
        ),
        # Variants inside and outside multiply.
        (
            f"{DRAWN}shots: [{{prompt: '{{red|blue}} mug', variants: combinatorial, preset: film}}]",
            [f"{age} still of {colour} mug, grain" for age in ("old", "new") for colour in ("red", "blue")],
        ),
        # A prompt may stand in a variant with all that it holds.
        (
            "presets: {a: {prompt: '{{prompt}|{prompt}}, oil'}}\n"
            "shots: [{model: shotfarm-demo, prompt: '0.5::a | b', preset: a}]",
            ["0.5::a | b, oil"],
        ),
        # A cell may hold several presets.
        (
            f"{STYLES}shots: [{{prompt: mug, axes: {{p: {{file: p.csv}}, x: [1]}}}}]",
            ["still of mug, grain at night"] * 2 + ["still of mug, grain", "mug"],
        ),
    ],
)
def test_presets_make_these_prompts(content: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('name,preset\na,film + night\nb,"film, night"\nc,film\nd,\n')
    assert sorted(prompts(tmp_path, content)) == sorted(expected)


def test_an_axis_named_preset_reads_its_name_in_prompts_and_names(tmp_path: Path) -> None:
    content = STYLES + (
        "shots: [{prompt: 'mug {preset}', axes: {preset: [plain, film]}}]\noutput: {name: '{preset}'}"
    )
    expansion = expand(parse(tmp_path, content), CATALOG)
    assert [(shot.name, shot.shot.prompt) for shot in expansion] == [
        ("plain", "mug plain"),
        ("film", "still of mug film, grain"),
    ]


def test_loras_of_presets_add_up(tmp_path: Path) -> None:
    (shot,) = shots(tmp_path, f"{STYLES}shots: [{{prompt: a mug, preset: print, loras: [blueprint@0.8]}}]")
    assert [(use.name, use.weight) for use in shot.loras] == [("blueprint", 0.8)]
    assert (shot.width, shot.height) == (64, 96)


def test_what_is_drawn_inside_is_the_same_with_and_without_a_style(tmp_path: Path) -> None:
    content = DRAWN + (
        "shots: [{prompt: '{red|blue|green|white|black|grey} mug', seeds: 12, axes: {preset: [plain, film]}}]"
    )
    made = prompts(tmp_path, content)
    plain, film = made[:12], made[12:]
    assert len(set(plain)) > 2
    assert {text.split()[0] for text in film} == {"old", "new"}
    assert [text.split("still of ")[1].removesuffix(", grain") for text in film] == plain


ROWS = {
    "s.json": '[{"name": "Film Still", "prompt": "still of {prompt}", "negative_prompt": "drawing"},'
    ' {"name": "none", "prompt": "{prompt}", "negative_prompt": null}]',
    "s.csv": "name,prompt,negative_prompt\nFilm Still,still of {prompt},drawing\nnone,{prompt},\n",
    "s.tsv": "name\tprompt\tNegative prompt\nFilm Still\tstill of {prompt}\tdrawing\nnone\t{prompt}\t\n",
    "s.yaml": "- {name: Film Still, prompt: 'still of {prompt}', negative: drawing}\n- {name: none}\n",
    "t.yaml": "Film Still: {prompt: 'still of {prompt}', negative: drawing}\nnone: {}\n",
    "t.json": '{"Film Still": {"prompt": "still of {prompt}", "negative": "drawing"}, "none": {}}',
    "m.yaml": "version: 1\npresets: {none: {}, Film Still: {prompt: 'still of {prompt}',"
    " negative: drawing}}\n",
}


@pytest.mark.parametrize("name", ROWS)
def test_a_file_of_styles_gives_presets(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(ROWS[name])
    content = (
        f"presets: {{file: {name}, own: {{steps: 3}}}}\n"
        "shots: [{model: shotfarm-demo, prompt: mug, axes: {preset: [Film Still, none, own]}}]"
    )
    made = shots(tmp_path, content)
    assert [(shot.prompt, shot.negative) for shot in made] == [
        ("still of mug", "drawing"),
        ("mug", ""),
        ("mug", ""),
    ]


@pytest.mark.parametrize("name", ["s.json", "s.csv", "s.tsv"])
def test_a_file_of_styles_is_an_axis_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(ROWS[name])
    content = (
        f"shots: [{{model: shotfarm-demo, prompt: mug, axes: {{style: {{file: {name}}}}}}}]\n"
        "output: {name: '{style}'}"
    )
    expansion = expand(parse(tmp_path, content), CATALOG)
    assert [(shot.name, shot.shot.prompt, shot.shot.negative) for shot in expansion] == [
        ("Film Still", "still of mug", "drawing"),
        ("none", "mug", ""),
    ]


def test_presets_of_a_base_are_taken_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\npresets: {a: {steps: 3, guidance: 2}, b: {steps: 4}}\n")
    parsed = parse(
        tmp_path,
        "extends: base.yaml\npresets: {a: {steps: 5}}\n"
        "shots: [{model: shotfarm-demo, prompt: m, axes: {preset: [a, b]}}]",
    )
    assert [shot.shot.steps for shot in expand(parsed, CATALOG)] == [5, 4]
    assert parsed.manifest.presets["a"].guidance is None


def test_presets_around_each_other_have_an_end(tmp_path: Path) -> None:
    names = ", ".join(["film"] * 40)
    with pytest.raises(InvalidDocument, match="wraps more than 32 other prompts"):
        shots(tmp_path, f"{STYLES}shots: [{{prompt: p, preset: [{names}], negative: ''}}]")
    doubled = STYLES.replace("still of {prompt}", "{prompt} {prompt}")
    with pytest.raises(InvalidDocument, match="can become longer than"):
        shots(tmp_path, f"{doubled}shots: [{{prompt: p, preset: [{names[:180]}]}}]")
