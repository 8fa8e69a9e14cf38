"""Friendly forms become the model's types; what is left out has a default."""

from __future__ import annotations

from decimal import Decimal

import pytest

from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.manifest.model import NOTHING, Axis, Group, LoraRef, Manifest, Seeds, ShotFields, Size
from common.manifest.parse import ParsedManifest, parse_manifest


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


def test_what_is_not_said_has_a_default() -> None:
    manifest = parse("version: 1\nshots:\n- {model: m, prompt: p}\n").manifest
    assert manifest == Manifest(version=1, shots=(Group(name="shots", model="m", prompt="p"),))
    assert (manifest.lane, manifest.priority, manifest.limits.max_images) == ("public", 50, 10_000)


TEXTS = ["9:16", "no", "007", "1e3", "null", "~", "'a: b'", '"{a|b}"', "true"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("seeds: 4", Seeds(count=4)),
        ("seeds: [11, 12]", Seeds(values=(11, 12), count=2)),
        ("seeds: {start: 100, count: 4}", Seeds(start=100, count=4)),
        ("seeds: {count: 2, mode: random}", Seeds(count=2, mode="random")),
        ("seeds: {start: 9223372036854775807}", Seeds(start=2**63 - 1)),
        *((f"size: 832{cross}1216", Size(width=832, height=1216)) for cross in ("x", " × ", "X", " x ", "×")),
        ("size: {width: 832, height: 1216}", Size(width=832, height=1216)),
        ("size: {aspect: 9:16, megapixels: 0.5}", Size(aspect=(9, 16), megapixels=0.5)),
        ("size: {aspect: 2.39:1}", Size(aspect=(2.39, 1))),
        ("size: {megapixels: 2}", Size(megapixels=2)),
        ("loras: ana_v2", (LoraRef(name="ana_v2"),)),
        ("loras: [ana_v2@0.8, bo]", (LoraRef(name="ana_v2", weight=0.8), LoraRef(name="bo"))),
        ("loras: [{name: ana_v2, weight: -0.5}]", (LoraRef(name="ana_v2", weight=-0.5),)),
        ("loras: ana_v2@0.8 / 0", (LoraRef(name="ana_v2", weight=0.8, text_weight=0),)),
        (
            "loras: a@1/0.5 + b@0.5",
            (LoraRef(name="a", weight=1, text_weight=0.5), LoraRef(name="b", weight=0.5)),
        ),
        ("loras: {name: ana_v2, text_weight: 0.5}", (LoraRef(name="ana_v2", text_weight=0.5),)),
        ("loras: []", ()),
        *((f"negative: {spelled}", spelled.strip("'\"")) for spelled in TEXTS),
    ],
)
def test_a_setting_may_be_written_in_any_friendly_form(line: str, value: object) -> None:
    assert getattr(group(line), line.partition(":")[0]) == value


@pytest.mark.parametrize(
    ("spelled", "values"),
    [
        *((f"[{spelled}]", (spelled.strip("'\""),)) for spelled in TEXTS),
        ("{from: 10, to: 30, step: 10}", ("10", "20", "30")),
        ("{from: 0.1, to: 0.3, step: 0.1}", ("0.1", "0.2", "0.3")),
        ("{from: 1, to: 2, step: 0.25}", ("1.00", "1.25", "1.50", "1.75", "2.00")),
        ("{from: 3, to: 1, step: -1}", ("3", "2", "1")),
        ("{from: 1, to: 4, step: 2}", ("1", "3")),
        ("{from: 5, to: 5}", ("5",)),
        ("{from: 0x10, to: 0x11}", ("16", "17")),
    ],
)
def test_values_keep_their_spelling_and_a_range_is_inclusive_and_decimal(
    spelled: str, values: tuple[str, ...]
) -> None:
    assert axis(spelled).values == values


@pytest.mark.parametrize(
    ("axes", "short", "long"),
    [
        ("a: [x, y], b: [z, w]", "zip: [a, b]", "zip: [[a, b]]"),
        (
            "f: [{name: s}, {name: t}], bg: [oak]",
            "exclude: [{f.name: s, bg: oak}]",
            "exclude: [{f: {name: s}, bg: oak}]",
        ),
    ],
)
def test_a_short_form_is_the_long_one(axes: str, short: str, long: str) -> None:
    assert group(f"axes: {{{axes}}}", short) == group(f"axes: {{{axes}}}", long)


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


def test_include_is_spelled_and_sets_fields() -> None:
    found = group("axes: {bg: [white]}", "include:", "- {bg: oak, steps: 4, who: {name: bo, lora: bo@0.5}}")
    assert found.include == ({"bg": "oak", "steps": "4", "who": {"name": "bo", "lora": "bo@0.5"}},)
    assert found.include_sets == (ShotFields(steps=4, loras=(LoraRef(name="bo", weight=0.5),)),)


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


def test_a_long_mapping_in_place_of_a_text_is_not_said_again() -> None:
    (short,) = problems("version: 1\nshots:\n- {model: m, prompt: {a: b}}\n")
    (long,) = problems(f"version: 1\nshots:\n- {{model: m, prompt: {{a: {'b' * 5000}}}}}\n")
    assert short.message.endswith("; put it in quotes: '\\{a: b\\}'")
    assert long.message.endswith("not a mapping; put it in quotes")
