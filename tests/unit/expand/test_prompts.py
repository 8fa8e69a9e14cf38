"""Prompts: references, triggers, expanding values, and what is wrong with them where."""

from __future__ import annotations

import pytest

from common.errors import InvalidDocument
from common.manifest.model import NOTHING, Axis, Group, Manifest
from coordinator.expand import expand
from tests.unit.expand.making import catalog, expanded, group, prompts


def test_the_template_is_kept_beside_the_resolved_prompt() -> None:
    (planned,) = expanded(group("axes: {bg: [oak]}", prompt=r"'{bg} {a|a} \{x\}'"))
    assert (planned.template, planned.shot.prompt) == (r"{bg} {a|a} \{x\}", "oak a {x}")


TRIGGERED = [
    ("{trigger}, a cat", "[ana]", "ana woman, a cat"),
    ("a cat, {trigger}, at night", "[ana, bo]", "a cat, ana woman, bo man, grey beard, at night"),
    ("a cat", "[bo, ana]", "bo man, grey beard, ana woman, a cat"),
    ("a cat", "[silent]", "a cat"),
    ("{trigger}, a cat", "[]", "a cat"),
    ("{trigger}, a cat", "[silent]", "a cat"),
    ("a cat, {trigger}", "[]", "a cat"),
    ("a cat, {trigger}, at night", "[]", "a cat, at night"),
    ("a {trigger} cat", "[]", "a cat"),
    ("{trigger}", "[]", ""),
    ("{trigger}", "[ana]", "ana woman"),
    ("an Ana Woman, walking", "[ana]", "an Ana Woman, walking"),
    ("a bo manor", "[bo]", "bo man, grey beard, a bo manor"),
    ("{ana.trigger} waves", "[ana]", "ana woman waves"),
    ("{bo.trigger} meets {trigger}", "[ana, bo]", "bo man, grey beard meets ana woman"),
    ("{ana.trigger} waves", "[bo, ana]", "bo man, grey beard, ana woman waves"),
    ("{silent.trigger}, a cat", "[silent]", "a cat"),
    ("{trigger} and {trigger}", "[ana]", "ana woman and "),
    ("grey beard, {trigger}", "[bo]", "grey beard, bo man"),
    ("{x|x}, {trigger}", "[ana]", "x, ana woman"),
]
WILD = "wildcards: {w: [y]}"


@pytest.mark.parametrize(
    ("lines", "prompt", "expected"),
    [
        # Trigger words stand where they are placed or in front, and never twice.
        *(([f"loras: {loras}", "allow_empty: true"], prompt, [text]) for prompt, loras, text in TRIGGERED),
        (
            ["axes: {who: [{name: a, lora: ana}, {name: b, lora: bo}]}"],
            "{ana.trigger} waves",
            ["ana woman waves", "bo man, grey beard waves"],
        ),
        # Values are plain text unless they expand; what include adds to them does too.
        (["axes: {x: ['{a|a} __w__']}"], "{x}!", ["{a|a} __w__!"]),
        (["axes: {x: {values: ['{a|a} __w__'], expand: true}}"], "{x}!", ["a y!"]),
        (["axes: {x: {values: [a], expand: true}}", "include: [{x: '{b|b}'}]"], "{x}", ["a", "b"]),
        (["axes: {bg: [oak]}"], "{on {bg}|on {bg}}", ["on oak"]),
        # A draw that no shot has empty is no error.
        (["seeds: [0]"], "{1000::a|}", ["a"]),
    ],
)
def test_a_prompt_becomes_these_texts(lines: list[str], prompt: str, expected: list[str]) -> None:
    assert prompts(group(*lines, prompt=f'"{prompt}"', top=WILD)) == expected


def test_the_negative_prompt_gets_trigger_words_only_where_it_asks_for_them() -> None:
    def negative(text: str) -> str:
        written = group("loras: [poster]", f"negative: '{text}'", model="sdxl")
        return expanded(written)[0].shot.negative

    assert negative("blurry") == "blurry"
    assert negative("{trigger}, blurry") == "poster style, blurry"


def test_unknown_wildcards_are_named_in_prompts_and_in_expanding_values() -> None:
    axis = Axis(values=("__jbo__",), sets=(NOTHING,), expand=True)
    one = Group(name="g", model="sdxl", prompt="a __joob__ {x}", axes={"x": axis})
    with pytest.raises(InvalidDocument) as caught:
        expand(Manifest(version=1, shots=(one,), wildcards={"job": ("smith",)}), catalog())
    assert [(problem.path, problem.column, problem.message) for problem in caught.value.problems] == [
        ("shots[0].prompt", 3, "unknown wildcard `__joob__`: did you mean `__job__`?"),
        ("shots[0].axes.x[0]", 1, "unknown wildcard `__jbo__`: did you mean `__job__`?"),
    ]
