"""Friendly forms become the model's types; what is left out has a default."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.model import NOTHING, Axis, Group, LoraRef, Manifest, Seeds, ShotFields, Size
from common.manifest.parse import ParsedManifest, parse_manifest

RULEBOOK = Path(__file__).parent / "rulebook"


def parse(content: str) -> ParsedManifest:
    return parse_manifest(content, source="m.yaml", files=None)


def group(*lines: str) -> Group:
    text = "\n  ".join(("version: 1\nshots:\n- name: g", "model: z-image", "prompt: a cat", *lines))
    return parse(text).manifest.shots[0]


def axis(spelled: str, name: str = "x") -> Axis:
    return group(f"axes: {{{name}: {spelled}}}").axes[name]


def problems(content: str) -> list[Problem]:
    with pytest.raises(InvalidDocument) as caught:
        parse(content)
    return list(caught.value.problems)


def rulebook(name: str) -> ParsedManifest:
    content = (RULEBOOK / name).read_bytes()
    return parse_manifest(content, source=name, files=FileReader(RULEBOOK))


def test_the_campaign_of_the_rule_book_parses_as_written() -> None:
    manifest = rulebook("campaign.yaml").manifest
    (hero,) = manifest.shots
    assert manifest.defaults.size == Size(aspect=(2, 3), megapixels=1)
    assert hero.axes["persona"].values[0] == {
        "name": "ana",
        "look": "red hair, freckles",
        "loras": "ana_v2@0.8",
    }
    assert hero.axes["persona"].sets[1] == ShotFields(loras=(LoraRef(name="bo_v1", weight=0.7),))
    assert hero.axes["scene"].values == ("on a quay", "in a greenhouse: noon")
    assert (hero.seeds, manifest.limits.max_images, manifest.use) == (Seeds(count=3), 400, "commercial")


def test_the_catalogue_of_the_rule_book_parses_as_written() -> None:
    (packshot,) = rulebook("catalogue.yaml").manifest.shots
    assert packshot.axes["product"].values[0] == {"sku": "A1", "text": "a mug, blue"}
    assert packshot.axes["format"].sets[1].size == Size(aspect=(9, 16), megapixels=1)
    assert packshot.zip == (("format", "channel"),)
    assert packshot.exclude == ({"bg": "oak", "format.name": "story"},)


def test_the_grid_of_the_rule_book_parses_as_written() -> None:
    manifest = rulebook("grid.yaml").manifest
    (ab,) = manifest.shots
    assert ab.axes["steps"].values == ("10", "20", "30")
    assert [fields.guidance for fields in ab.axes["guidance"].sets] == [3.0, 4.5, 6.0]
    assert ab.seeds == Seeds(start=100, count=4)
    assert manifest.wildcards == {"job": ("baker", "{old|young} fisher")}


def test_what_is_not_said_has_a_default() -> None:
    manifest = parse("version: 1\nshots:\n- {model: m, prompt: p}\n").manifest
    assert manifest == Manifest(version=1, shots=(Group(name="shots", model="m", prompt="p"),))
    assert (manifest.lane, manifest.priority, manifest.limits.max_images) == ("public", 50, 10_000)


@pytest.mark.parametrize("spelled", ["3", "0.10", "1e-3", "0.1000000000000000055"])
def test_a_limit_of_money_keeps_the_digits_it_is_written_with(spelled: str) -> None:
    content = f"version: 1\nlimits: {{max_cost: {spelled}}}\nshots:\n- {{model: m, prompt: p}}\n"
    assert parse(content).manifest.limits.max_cost == Decimal(spelled)


def test_groups_without_a_name_are_numbered() -> None:
    shots = "\n".join(["- {model: m, prompt: p}"] * 3)
    assert [g.name for g in parse(f"version: 1\nshots:\n{shots}\n").manifest.shots] == [
        "group1",
        "group2",
        "group3",
    ]


@pytest.mark.parametrize(
    ("spelled", "seeds"),
    [
        ("4", Seeds(count=4)),
        ("[11, 12]", Seeds(values=(11, 12), count=2)),
        ("{start: 100, count: 4}", Seeds(start=100, count=4)),
        ("{count: 2, mode: random}", Seeds(count=2, mode="random")),
        ("{start: 9223372036854775807}", Seeds(start=2**63 - 1)),
    ],
)
def test_seeds_are_a_count_a_list_or_a_mapping(spelled: str, seeds: Seeds) -> None:
    assert group(f"seeds: {spelled}").seeds == seeds
    assert len(seeds) == (seeds.count if seeds.values is None else len(seeds.values))


@pytest.mark.parametrize(
    ("spelled", "size"),
    [
        ("832x1216", Size(width=832, height=1216)),
        ("832 × 1216", Size(width=832, height=1216)),
        ("{width: 832, height: 1216}", Size(width=832, height=1216)),
        ("{aspect: 9:16, megapixels: 0.5}", Size(aspect=(9, 16), megapixels=0.5)),
        ("{aspect: 2.39:1}", Size(aspect=(2.39, 1))),
        ("{megapixels: 2}", Size(megapixels=2)),
    ],
)
def test_a_size_is_pixels_or_an_aspect(spelled: str, size: Size) -> None:
    assert group(f"size: {spelled}").size == size


@pytest.mark.parametrize(
    ("spelled", "loras"),
    [
        ("ana_v2", [("ana_v2", 1.0)]),
        ("[ana_v2@0.8, bo]", [("ana_v2", 0.8), ("bo", 1.0)]),
        ("[{name: ana_v2, weight: -0.5}]", [("ana_v2", -0.5)]),
        ("[]", []),
    ],
)
def test_loras_are_names_with_weights(spelled: str, loras: list[tuple[str, float]]) -> None:
    assert [(lora.name, lora.weight) for lora in group(f"loras: {spelled}").loras] == loras


@pytest.mark.parametrize("spelled", ["9:16", "no", "007", "1e3", "null", "~", "'a: b'", '"{a|b}"', "true"])
def test_where_text_is_expected_a_scalar_keeps_its_spelling(spelled: str) -> None:
    text = spelled.strip("'\"")
    assert axis(f"[{spelled}]").values == (text,)
    assert group(f"negative: {spelled}").negative == text


@pytest.mark.parametrize(
    ("spelled", "values"),
    [
        ("{from: 10, to: 30, step: 10}", ("10", "20", "30")),
        ("{from: 0.1, to: 0.3, step: 0.1}", ("0.1", "0.2", "0.3")),
        ("{from: 1, to: 2, step: 0.25}", ("1.00", "1.25", "1.50", "1.75", "2.00")),
        ("{from: 3, to: 1, step: -1}", ("3", "2", "1")),
        ("{from: 1, to: 4, step: 2}", ("1", "3")),
        ("{from: 5, to: 5}", ("5",)),
        ("{from: 0x10, to: 0x11}", ("16", "17")),
    ],
)
def test_a_range_is_inclusive_and_decimal(spelled: str, values: tuple[str, ...]) -> None:
    assert axis(spelled).values == values


def test_a_range_of_a_trillion_is_counted_and_not_built() -> None:
    content = "version: 1\nshots:\n- {model: m, prompt: p, axes: {x: {from: 0, to: 1e12, step: 0.001}}}\n"
    (problem,) = problems(content)
    assert "1,000,000,000,000,001 values" in problem.message


def test_an_axis_may_not_pass_the_limit_that_the_manifest_sets() -> None:
    content = "version: 1\nlimits: {max_images: 2}\nshots:\n- {model: m, prompt: p, axes: {x: [a, b, c]}}\n"
    (problem,) = problems(content)
    assert "has 3 values, more than `limits.max_images` (2)" in problem.message


def test_an_axis_named_like_a_field_sets_it() -> None:
    assert axis("[4, 9]", "steps").sets == (ShotFields(steps=4), ShotFields(steps=9))
    assert axis("[z-image, sdxl]", "model").sets[1] == ShotFields(model="sdxl")
    sizes = axis("[512x512, {aspect: 2:3}]", "size")
    assert sizes.sets == (ShotFields(size=Size(width=512, height=512)), ShotFields(size=Size(aspect=(2, 3))))
    assert sizes.values == ("512x512", {"aspect": "2:3"})
    loras = axis("[[a@1, b], c]", "loras")
    assert loras.sets[0].loras == (LoraRef(name="a"), LoraRef(name="b"))
    assert loras.values == ("a@1, b", "c")


def test_fields_inside_a_mapping_value_are_set_and_spelled() -> None:
    found = axis("[{name: low, steps: 4, lora: ana@0.5, look: 007}, {name: plain}]")
    assert found.values == (
        {"name": "low", "steps": "4", "lora": "ana@0.5", "look": "007"},
        {"name": "plain"},
    )
    assert found.sets == (ShotFields(steps=4, loras=(LoraRef(name="ana", weight=0.5),)), NOTHING)


def test_values_expand_only_where_the_axis_says_so() -> None:
    assert not axis('["{a|b}"]').expand
    assert axis('{values: ["{a|b}"], expand: true}').expand


def test_one_zip_may_stand_without_the_outer_list() -> None:
    axes = "axes: {a: [x, y], b: [z, w]}"
    assert group(axes, "zip: [a, b]").zip == group(axes, "zip: [[a, b]]").zip == (("a", "b"),)


def test_include_is_spelled_and_sets_fields() -> None:
    found = group("axes: {bg: [white]}", "include:", "- {bg: oak, steps: 4, who: {name: bo, lora: bo@0.5}}")
    assert found.include == ({"bg": "oak", "steps": "4", "who": {"name": "bo", "lora": "bo@0.5"}},)
    assert found.include_sets == (ShotFields(steps=4, loras=(LoraRef(name="bo", weight=0.5),)),)


def test_exclude_may_nest_or_be_dotted() -> None:
    axes = "axes: {f: [{name: story}, {name: shop}], bg: [oak]}"
    nested = group(axes, "exclude: [{f: {name: story}, bg: oak}]")
    assert nested.exclude == group(axes, "exclude: [{f.name: story, bg: oak}]").exclude


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    found = problems(
        "version: 1\npriority: high\nshots:\n- promt: a cat\n  steps: 0\n  seeds: [x]\n"
        "- model: m\n  prompt: {a}\n"
    )
    assert [(p.line, p.path) for p in found] == [
        (2, "priority"),
        (4, "shots[0].promt"),
        (4, "shots[0]"),
        (5, "shots[0].steps"),
        (6, "shots[0].seeds[0]"),
        (8, "shots[1].prompt"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "version: 1\n" + "".join(f"key{i}: 1\n" for i in range(20_000)),
        "version: 1\n" + "key: 1\n" * 20_000,
        "version: 1\nshots: [{model: m, prompt: p, seeds: [" + "x, " * 20_000 + "]}]\n",
        "version: 1\nshots: [{model: m, prompt: '" + "<lora:a:1> " * 20_000 + "'}]\n",
        "version: 1\nshots: [{model: m, prompt: '" + "__x__ " * 20_000 + "'}]\n",
    ],
)
def test_a_hopeless_file_is_given_up_after_a_hundred_problems(content: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_manifest(content, source="m.yaml", files=None)
    assert len(caught.value.problems) <= 100


def test_a_quality_without_effect_is_warned_of() -> None:
    (warning,) = parse("version: 1\nshots: [{model: m, prompt: p}]\noutput: {quality: 80}\n").warnings
    assert (warning.line, warning.path) == (3, "output.quality")


def test_equal_warnings_are_told_once_with_their_number() -> None:
    shots = "- {model: sdxl, prompt: a (red:1.2) cat}\n" * 200
    content = f"version: 1\nshots:\n{shots}"
    parsed = parse_manifest(content, source="m.yaml", files=None, catalog=load_catalog())
    (warning,) = parsed.warnings
    assert warning.line == 3
    assert warning.message.endswith(" (200 times, first here)")


def test_a_problem_reads_as_source_line_column_path_and_remedy() -> None:
    (problem,) = problems("version: 1\nshots:\n- {model: m, prompt: p, promt: q}\n")
    assert problem.at("m.yaml") == "m.yaml:3:25: shots[0].promt: unknown key `promt`: did you mean `prompt`?"


def test_a_prompt_may_come_from_an_axis() -> None:
    manifest = parse("version: 1\nshots:\n- {model: m, axes: {prompt: [a cat, a dog]}}\n").manifest
    assert [fields.prompt for fields in manifest.shots[0].axes["prompt"].sets] == ["a cat", "a dog"]


@pytest.mark.parametrize(
    ("lines", "path", "offset", "place"),
    [
        (["prompt: a cat {x"], "shots[0].prompt", 6, (4, 17)),
        (["prompt: p", "axes: {bg: [oak]}"], "shots[0].axes.bg[0]", None, (5, 15)),
        (["prompt: p", "axes: {bg: {values: [oak, ash]}}"], "shots[0].axes.bg[1]", None, (5, 29)),
        (["prompt: p", "axes: {bg: {from: 1, to: 2}}"], "shots[0].axes.bg[1]", None, (5, 10)),
        (["prompt: p", "axes: {f: [{name: a, look: b}]}"], "shots[0].axes.f[0].look", None, (5, 30)),
    ],
)
def test_a_later_finding_is_placed_in_the_text(
    lines: list[str], path: str, offset: int | None, place: tuple[int, int]
) -> None:
    content = "\n  ".join(["version: 1\nshots:\n- model: m", *lines]) + "\n"
    text, _ = read_yaml(content, "m.yaml")
    problem = text.problem(path, "wrong", offset)
    assert (problem.line, problem.column) == place
