"""Every broken manifest gives one clear sentence with line and path, and nothing but InvalidDocument."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.catalog import Catalog, load_catalog
from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from coordinator.expand import expand

FOLDER = Path(__file__).parent / "broken"

#: File, line, dotted path and part of the message of its first problem.
BROKEN = [
    ("misspelled-key.yaml", 5, "shots[0].promt", "did you mean `prompt`?"),
    ("misspelled-top-key.yaml", 6, "ouput", "did you mean `output`?"),
    ("misspelled-default.yaml", 3, "defaults.modl", "did you mean `model`?"),
    ("misspelled-limit.yaml", 7, "limits.max_image", "did you mean `max_images`?"),
    ("limits-inside-group.yaml", 6, "shots[0].limits", "top level"),
    ("wrong-type-steps.yaml", 6, "shots[0].steps", "whole number"),
    ("fractional-steps.yaml", 6, "shots[0].steps", "whole number"),
    ("quoted-number.yaml", 6, "shots[0].steps", "in quotes"),
    ("nan-guidance.yaml", 6, "shots[0].guidance", "must be a number"),
    ("infinite-guidance.yaml", 6, "shots[0].guidance", "from 0 to 100"),
    ("huge-number.yaml", 6, "shots[0].steps", "from 1 to 1,000"),
    ("nan-size.yaml", 6, "shots[0].size.megapixels", "must be a number"),
    ("zero-size.yaml", 6, "shots[0].size", "from 16 to 16,384"),
    ("negative-size.yaml", 6, "shots[0].size", "must be a size"),
    ("absurd-size.yaml", 6, "shots[0].size", "from 16 to 16,384"),
    ("zero-aspect.yaml", 6, "shots[0].size.aspect", "1:20"),
    ("mixed-size.yaml", 6, "shots[0].size", "both `width` and `height`"),
    ("tab-indent.yaml", 4, "", "use spaces"),
    ("duplicate-key.yaml", 6, "shots[0].model", "first on line 4"),
    ("unquoted-braces.yaml", 5, "", "put it in quotes"),
    ("prompt-is-mapping.yaml", 5, "shots[0].prompt", "put it in quotes"),
    ("starts-with-at.yaml", 5, "", "put it in quotes"),
    ("starts-with-percent.yaml", 5, "", "put it in quotes"),
    ("starts-with-backtick.yaml", 5, "", "put it in quotes"),
    ("starts-with-asterisk.yaml", 5, "shots[0].prompt", "put it in quotes"),
    ("colon-in-text.yaml", 5, "", "quotes"),
    ("open-quote.yaml", 5, "", "quotation mark is never closed"),
    ("control-character.yaml", 5, "", "control character 0x07"),
    ("several-documents.yaml", 6, "", "several documents"),
    ("python-tag.yaml", 5, "shots[0].prompt", "tags"),
    ("empty.yaml", 1, "", "empty"),
    ("only-comments.yaml", 1, "", "empty"),
    ("not-utf8.yaml", 5, "", "UTF-8"),
    ("utf16.yaml", 1, "", "UTF-8"),
    ("root-is-list.yaml", 1, "", "must be a mapping"),
    ("root-is-text.yaml", 1, "", "must be a mapping"),
    ("self-reference.yaml", 6, "shots[0].axes.y[0]", "inside its own anchor"),
    ("alias-bomb.yaml", 7, "f[9]", "values"),
    ("too-deep.yaml", 6, "wildcards.a" + "[0]" * 30, "deeper than"),
    ("deep-by-aliases.yaml", 33, "a31[0]", "deeper than"),
    ("missing-version.yaml", 1, "", "version: 1"),
    ("future-version.yaml", 1, "version", "must be the number 1"),
    ("no-shots.yaml", 1, "", "`shots` is missing"),
    ("empty-shots.yaml", 2, "shots", "nothing to render"),
    ("shots-is-mapping.yaml", 3, "shots", "list of groups"),
    ("no-prompt.yaml", 3, "shots[0]", "no `prompt`"),
    ("no-model.yaml", 3, "shots[0]", "no `model`"),
    ("empty-prompt-value.yaml", 5, "shots[0].prompt", "no value"),
    ("same-group-name.yaml", 6, "shots[1].name", "taken"),
    ("bad-group-name.yaml", 3, "shots[0].name", "must be a name"),
    ("bad-lane.yaml", 6, "lane", "must be a name"),
    ("unknown-model.yaml", 4, "shots[0].model", "did you mean `z-image-turbo`?"),
    ("unknown-lora.yaml", 6, "shots[0].loras[0]", "did you mean `ana_v2`?"),
    ("lora-for-another-base.yaml", 6, "shots[0].loras", "was made for `shotfarm-demo`"),
    ("lora-weight-text.yaml", 6, "shots[0].loras[0]", "must be a number"),
    ("lora-weight-nan.yaml", 6, "shots[0].loras[0]", "must be a number"),
    ("lora-tag-in-prompt.yaml", 5, "shots[0].prompt", "loras: [ana_v2@0.8]"),
    ("no-commercial-licence.yaml", 4, "shots[0].model", "commercial use"),
    ("unknown-sampler.yaml", 6, "shots[0].sampler", "did you mean `euler`?"),
    ("knob-of-another-family.yaml", 6, "shots[0].shift", "does not take `shift`"),
    ("knob-out-of-range.yaml", 6, "shots[0].blind_steps", "must be 0 to 2"),
    ("unknown-format.yaml", 6, "output.format", "`webp`"),
    ("quality-zero.yaml", 6, "output.quality", "from 1 to 100"),
    ("metadata-no.yaml", 6, "output.metadata", "`true` or `false`"),
    ("unknown-use.yaml", 6, "use", "`noncommercial`"),
    ("priority-too-high.yaml", 6, "priority", "from 0 to 100"),
    ("negative-cost.yaml", 6, "limits.max_cost", "must be a number"),
    ("reserved-axis.yaml", 7, "shots[0].axes.index", "reserved"),
    ("seed-axis.yaml", 7, "shots[0].axes.seed", "write `seeds:`"),
    ("axis-named-like-lora.yaml", 7, "shots[0].axes.ana_v2", "already has a meaning"),
    ("axis-name-with-dot.yaml", 7, "shots[0].axes.a.b", "must consist of letters, digits"),
    ("axis-is-text.yaml", 6, "shots[0].axes.bg", "write `[white]`"),
    ("axis-without-values.yaml", 6, "shots[0].axes.bg", "no values"),
    ("axis-value-null.yaml", 9, "shots[0].axes.bg[1]", "no value"),
    ("axis-value-steps.yaml", 6, "shots[0].axes.steps[1]", "whole number"),
    ("endless-range.yaml", 6, "shots[0].axes.steps.step", "never gets"),
    ("trillion-values.yaml", 6, "shots[0].axes.n", "1,000,000,000,000 values"),
    ("range-without-end.yaml", 6, "shots[0].axes.n", "`to` is missing"),
    ("unequal-zip.yaml", 7, "shots[0].zip", "`p` has 2, `q` has 1"),
    ("zip-unknown-axis.yaml", 7, "shots[0].zip", "did you mean `color`?"),
    ("exclude-unknown-axis.yaml", 8, "shots[0].exclude[0].gb", "unknown axis `gb`"),
    ("exclude-unknown-field.yaml", 8, "shots[0].exclude[0].f.loko", "did you mean `look`?"),
    ("include-unknown-axis.yaml", 8, "shots[0].include[0].gb.name", "unknown axis `gb`"),
    ("include-reserved-name.yaml", 7, "shots[0].include[0].index", "reserved"),
    ("missing-file.yaml", 7, "shots[0].axes.scene", "did you mean `scenes.txt`?"),
    ("file-above-folder.yaml", 7, "shots[0].axes.scene", "--root"),
    ("file-not-utf8.yaml", 7, "shots[0].axes.scene", "latin1.txt:2: is not UTF-8"),
    ("file-of-unknown-kind.yaml", 7, "shots[0].axes.scene", ".csv"),
    ("file-ragged-csv.yaml", 7, "shots[0].axes.p", "ragged.csv:3: has 1 cells"),
    ("file-wrong-size.yaml", 7, "shots[0].axes.p[1].size", "sizes.csv:3"),
    ("file-broken-json.yaml", 7, "shots[0].axes.p", "JSON"),
    ("unknown-wildcard.yaml", 5, "shots[0].prompt", "did you mean `__job__`?"),
    ("unbalanced-brace.yaml", 5, "shots[0].prompt", ""),
    ("seeds-zero.yaml", 6, "shots[0].seeds", "at least 1"),
    ("seeds-listed-twice.yaml", 6, "shots[0].seeds[2]", "twice"),
    ("seeds-negative.yaml", 6, "shots[0].seeds[0]", "at least 0"),
    ("seeds-unknown-mode.yaml", 6, "shots[0].seeds.mode", "`random`"),
    ("merge-key.yaml", 4, "shots[0].<<", "no merge keys; use `defaults`"),
    (
        "flow-missing-comma.yaml",
        3,
        "",
        "a `,` is missing here, or the `}` that closes the `{` at line 3, column 3",
    ),
    ("flow-missing-bracket.yaml", 8, "", "or the `]` that closes the `[` at line 7, column 8"),
    ("brace-in-double-quotes.yaml", 5, "", "use single quotes, in which a backslash is plain text"),
    ("surrogate-escape.yaml", 5, "", "use single quotes, in which a backslash is plain text"),
    ("apostrophe-in-quotes.yaml", 5, "", "write '' for an apostrophe"),
    ("negative-weight.yaml", 5, "shots[0].prompt", "`-1::` is not a weight; write a number above 0"),
    ("nan-weight.yaml", 5, "shots[0].prompt", "`nan::` is not a weight"),
    ("exclude-leaves-nothing.yaml", 7, "shots[0].exclude", "excludes all combinations of this group"),
    ("too-long-axis.yaml", 6, "shots[0].axes.c", "4,000,000 values, but an axis can have at most 1,000,000"),
    ("broken-axis-zipped.yaml", 6, "shots[0].axes.c", "`to` is missing"),
    ("file-is-list.yaml", 6, "shots[0].axes.c.file", "must be a file name, not a list"),
    ("exclude-empty-entry.yaml", 7, "shots[0].exclude[0]", "not an empty mapping"),
    ("wildcard-empty-list.yaml", 6, "wildcards.job", "not an empty list"),
    ("zip-of-one.yaml", 7, "shots[0].zip[0]", "at least two axes, not one"),
    ("quoted-version.yaml", 1, "version", "not `1` in quotes"),
    ("name-of-another-group.yaml", 8, "output.name", "group `h` has no {c}"),
    ("trigger-of-absent-lora.yaml", 5, "shots[0].prompt", "no shot of group `g` has the LoRA `blueprint`"),
]
#: Where one mistake could be taken for several.
TOLD_ONCE = ("broken-axis-zipped.yaml", "file-is-list.yaml", "merge-key.yaml")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def problems(name: str, catalog: Catalog) -> tuple[Problem, ...]:
    content = (FOLDER / name).read_bytes()
    with pytest.raises(InvalidDocument) as caught:
        expand(parse_manifest(content, source=name, files=FileReader(FOLDER), catalog=catalog), catalog)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"{name}:")
    return caught.value.problems


@pytest.mark.parametrize(("name", "line", "path", "fragment"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_manifest_is_explained_in_a_sentence_at_its_line(
    name: str, line: int, path: str, fragment: str, catalog: Catalog
) -> None:
    found = problems(name, catalog)
    assert any(
        (problem.line, problem.path) == (line, path) and fragment in problem.message for problem in found
    ), found
    assert name not in TOLD_ONCE or len([problem for problem in found if problem.path != "x"]) == 1
    for problem in found:
        assert problem.line is not None
        assert problem.column is not None
        assert "\n" not in problem.message
        assert len(problem.message) < 300


def test_every_broken_manifest_is_in_the_table() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {row[0] for row in BROKEN}
