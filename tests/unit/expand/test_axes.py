"""Axes: product, zip, exclude and include, and what their values set."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.manifest.model import NOTHING, Axis, Group, Manifest
from coordinator.expand.combinations import combinations
from coordinator.expand.findings import Findings
from tests.unit.expand.making import expanded, group, prompts

LOOKS = "axes: {f: [{name: shop, kind: wide}, {name: story, kind: tall}], bg: [oak, white]}"


@pytest.mark.parametrize(
    ("lines", "prompt", "expected"),
    [
        ([], "a cat", ["a cat"]),
        # The last axis changes fastest.
        (["axes: {a: [x, y], b: [p, q]}"], "{a}{b}", ["xp", "xq", "yp", "yq"]),
        # Zipped axes go in step where the first of them stands.
        (
            ["axes: {a: [x, y], b: [p, q], c: [1, 2]}", "zip: [[a, c]]"],
            "{a}{b}{c}",
            ["xp1", "xq1", "yp2", "yq2"],
        ),
        (
            [LOOKS, "exclude: [{f.kind: tall, bg: oak}]"],
            "{f.name}-{bg}",
            ["shop-oak", "shop-white", "story-white"],
        ),
        ([LOOKS, "exclude: [{f.name: story}]"], "{f.name}-{bg}", ["shop-oak", "shop-white"]),
        # Include comes after exclude.
        (
            ["axes: {a: [x, y], b: [p, q]}", "exclude: [{a: x}]", "include: [{a: x, b: q}]"],
            "{a}{b}",
            ["yp", "yq", "xq"],
        ),
        (["include: [{a: x}, {a: y}]"], "{a}", ["x", "y"]),
        # A combination that include makes takes the values it names.
        (
            [
                "axes: {persona: [{name: ana, look: red}], bg: [oak]}",
                "exclude: [{bg: oak}]",
                "include: [{persona.name: ana, bg: sea}]",
            ],
            "{persona.look} {bg}",
            ["red sea"],
        ),
        # A plain value is a mapping with a name.
        (["axes: {who: [ana, {name: bo}]}"], "{who} {who.name} {who.index}", ["ana ana 0", "bo bo 1"]),
        # An axis may be named like a LoRA that the group does not use.
        (["axes: {ana: [{trigger: x}]}"], "{ana.trigger}", ["x"]),
    ],
)
def test_axes_zip_exclude_and_include_make_these_combinations(
    lines: list[str], prompt: str, expected: list[str]
) -> None:
    assert prompts(group(*lines, prompt=f"'{prompt}'")) == expected


def test_include_works_as_in_the_matrices_of_github_actions() -> None:
    """The example of their documentation: the entries that fit add, the last two make combinations."""
    found = expanded(
        group(
            "axes: {fruit: [apple, pear], animal: [cat, dog]}",
            """
            include:
            - {color: green}
            - {color: pink, animal: cat}
            - {fruit: apple, shape: circle}
            - {fruit: banana}
            - {fruit: banana, animal: cat}
            """,
        )
    ).groups[0]
    described = [found.describe(number) for number in range(len(found))]
    assert described == [
        "group `g` where fruit is apple, animal is cat, color is pink, shape is circle",
        "group `g` where fruit is apple, animal is dog, color is green, shape is circle",
        "group `g` where fruit is pear, animal is cat, color is pink",
        "group `g` where fruit is pear, animal is dog, color is green",
        "group `g` where fruit is banana",
        "group `g` where fruit is banana, animal is cat",
    ]


def test_include_sets_shot_fields() -> None:
    found = expanded(group("axes: {bg: [oak, white]}", "include: [{bg: oak, steps: 20}]"))
    assert [planned.shot.steps for planned in found] == [20, found[1].shot.steps]
    assert found[1].shot.steps != 20


@pytest.mark.parametrize(
    ("axis", "field", "expected"),
    [
        ("steps: [4, 9]", "steps", [4, 9]),
        ("guidance: {from: 0, to: 1, step: 0.5}", "guidance", [0.0, 0.5, 1.0]),
        ("model: [z-image, sdxl]", "model", ["z-image", "sdxl"]),
        ("size: [512x512, 1024x768]", "width", [512, 1024]),
        ("shift: [2, 3.5]", "knobs", [(("shift", 2.0),), (("shift", 3.5),)]),
        ("blind_steps: [0, 1]", "knobs", [(("blind_steps", 0.0),), (("blind_steps", 1.0),)]),
        ("any: [{steps: 5}, {steps: 6}]", "steps", [5, 6]),
        ("prompt: [a dog, 'a {b}']", "prompt", ["a dog", "a bird"]),
        ("negative: [blurry, '{b}']", "negative", ["blurry", "bird"]),
    ],
)
def test_an_axis_or_a_key_of_its_values_sets_the_field_of_that_name(
    axis: str, field: str, expected: list[object]
) -> None:
    found = expanded(group(f"axes: {{{axis}, b: [bird]}}", model="z-image"))
    assert [getattr(planned.shot, field) for planned in found] == expected


def test_what_stands_nearer_to_the_shot_replaces_what_stands_further_away() -> None:
    top = "defaults: {steps: 3, guidance: 1, sampler: euler}"
    found = expanded(group("steps: 4", "axes: {x: [{steps: 5}, {name: plain}]}", top=top))
    assert [(planned.shot.steps, planned.shot.guidance) for planned in found] == [(5, 1.0), (4, 1.0)]


def test_loras_add_up_and_the_last_weight_of_a_name_wins() -> None:
    top = "defaults: {loras: [ana@0.5, silent@0.1]}"
    found = expanded(group("loras: [bo@0.6]", "axes: {x: [{loras: [ana@0.9]}, y]}", top=top))
    assert [[(use.name, use.weight) for use in planned.shot.loras] for planned in found] == [
        [("ana", 0.9), ("silent", 0.1), ("bo", 0.6)],
        [("ana", 0.5), ("silent", 0.1), ("bo", 0.6)],
    ]


@pytest.mark.parametrize(
    ("axis", "wanted"),
    [("[3.0, 4.5]", "3"), ("{from: 1, to: 2, step: 0.5}", "1"), ("['3', '3.0', '4']", "3.0")],
)
def test_numbers_match_by_value_where_no_text_is_equal(axis: str, wanted: str) -> None:
    found = expanded(group(f"axes: {{x: {axis}}}", f"exclude: [{{x: {wanted}}}]", prompt="'{x}'"))
    assert len(found) == len(expanded(group(f"axes: {{x: {axis}}}", prompt="'{x}'"))) - 1
    assert found.warnings == ()


VALUES = st.lists(st.sampled_from("pqrs"), min_size=1, max_size=4, unique=True)
ENTRY = st.dictionaries(st.sampled_from("abc"), st.sampled_from("pqrst"), min_size=1, max_size=3)
EXTRA = st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    axes = {name: tuple(draw(VALUES)) for name in "abc"[: draw(st.integers(0, 3))]}
    zips = ()
    if len(axes) > 1 and len(axes["a"]) == len(axes["b"]) and draw(st.booleans()):
        zips = (("a", "b"),)
    exclude = [{k: v for k, v in draw(ENTRY).items() if k in axes} for _ in range(draw(st.integers(0, 2)))]
    include = [draw(ENTRY) | draw(EXTRA) for _ in range(draw(st.integers(0, 3)))]
    return Group(
        name="g",
        axes={name: Axis(values=vs, sets=(NOTHING,) * len(vs)) for name, vs in axes.items()},
        zip=zips,
        exclude=tuple(entry for entry in exclude if entry),
        include=tuple(include),
        include_sets=(NOTHING,) * len(include),
    )


def naive(group: Group) -> list[dict[str, object]]:
    """Zip, product, exclude, include, word by word."""
    rows = [{}]
    done: set[str] = set()
    for name in group.axes:
        if name in done:
            continue
        names = next((names for names in group.zip if name in names), (name,))
        done |= set(names)
        columns = zip(*(group.axes[each].values for each in names), strict=True)
        steps = [dict(zip(names, column, strict=True)) for column in columns]
        rows = [{**row, **step} for row, step in product(rows, steps)]
    if not group.axes and group.include:
        rows = []
    rows = [
        row
        for row in rows
        if not any(all(row[key] == value for key, value in entry.items()) for entry in group.exclude)
    ]
    original = [dict(row) for row in rows]
    for entry in group.include:
        matching = [
            number
            for number, row in enumerate(original)
            if all(row[key] == value for key, value in entry.items() if key in group.axes)
        ]
        for number in matching:
            rows[number].update(entry)
        if not matching:
            rows.append(dict(entry))
    return rows


@given(groups())
def test_combinations_equal_a_word_by_word_reading_of_the_rules(group: Group) -> None:
    found = combinations("shots[0]", group, {}, Findings(Manifest(version=1, shots=(group,))))
    texts = [{name: value.text() for name, value in each.values.items()} for each in found]
    assert texts == naive(group)
