"""Prompts: references, triggers, expanding values, and what is wrong with them where."""

from __future__ import annotations

import pytest

from common.errors import InvalidDocument
from common.manifest.model import NOTHING, Axis, Group, Manifest
from coordinator.expand import expand
from tests.unit.expand.making import catalog, expanded, group, prompts, refused, warned


def only(*lines: str, prompt: str) -> str:
    (found,) = prompts(group(*lines, prompt=prompt))
    return found


def test_the_template_is_kept_beside_the_resolved_prompt() -> None:
    (planned,) = expanded(group("axes: {bg: [oak]}", prompt=r"'{bg} {a|a} \{x\}'"))
    assert (planned.template, planned.shot.prompt) == (r"{bg} {a|a} \{x\}", "oak a {x}")


def test_axis_values_are_plain_text_unless_they_expand() -> None:
    value = "'{a|a} __w__'"
    assert only(f"axes: {{x: [{value}]}}", prompt="'{x}!'") == "{a|a} __w__!"
    written = group(
        f"axes: {{x: {{values: [{value}], expand: true}}}}", prompt="'{x}!'", top="wildcards: {w: [y]}"
    )
    assert prompts(written) == ["a y!"]


def test_references_may_stand_in_variants() -> None:
    assert only("axes: {bg: [oak]}", prompt="'{on {bg}|on {bg}}'") == "on oak"


@pytest.mark.parametrize(
    ("prompt", "loras", "expected"),
    [
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
        ("an Ana Woman, walking", "[ana]", "an Ana Woman, walking"),
        ("a bo manor", "[bo]", "bo man, grey beard, a bo manor"),
        ("{ana.trigger} waves", "[ana]", "ana woman waves"),
        ("{bo.trigger} meets {trigger}", "[ana, bo]", "bo man, grey beard meets ana woman"),
        ("{ana.trigger} waves", "[bo, ana]", "bo man, grey beard, ana woman waves"),
        ("{silent.trigger}, a cat", "[silent]", "a cat"),
        ("{trigger} and {trigger}", "[ana]", "ana woman and "),
        ("grey beard, {trigger}", "[bo]", "grey beard, bo man"),
        ("{x|x}, {trigger}", "[ana]", "x, ana woman"),
    ],
)
def test_trigger_words_stand_where_they_are_placed_or_in_front_and_never_twice(
    prompt: str, loras: str, expected: str
) -> None:
    assert only(f"loras: {loras}", "allow_empty: true", prompt=f'"{prompt}"') == expected


def test_the_negative_prompt_gets_trigger_words_only_where_it_asks_for_them() -> None:
    def negative(text: str) -> str:
        written = group("loras: [poster]", f"negative: '{text}'", model="sdxl")
        return expanded(written)[0].shot.negative

    assert negative("blurry") == "blurry"
    assert negative("{trigger}, blurry") == "poster style, blurry"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("{scnee}", "unknown reference {scnee}: did you mean `scene`?"),
        ("on {who.lok}", "{who.lok}: no value of `who` has a field `lok`: did you mean `look`?"),
        ("on {scene.look}", "{scene.look}: `sea` is plain text without fields; write `{scene}`"),
        ("{pose}", "{pose} is a mapping without `name`; write one of `{pose.leg}`, `{pose.arm}`"),
        ("a {seed}", "{seed} is available only in `output.name`"),
        ("a {anna.trigger}", "unknown reference {anna.trigger}"),
        ("{a|{scnee}}", "unknown reference {scnee}"),
    ],
)
def test_a_reference_that_reads_nothing_is_named_with_line_and_column(prompt: str, words: str) -> None:
    axes = "axes: {scene: [sea], who: [{name: ana, look: red}], pose: [{leg: up, arm: down}]}"
    problems = refused(group(axes, prompt=f"'{prompt}'"))
    column = len("  prompt: '") + 1 + prompt.rindex("{")
    told = f"m.yaml:5:{column}: shots[0].prompt: {words}"
    assert any(problem.startswith(told) for problem in problems)


def test_a_name_that_include_gives_to_some_combinations_only_is_named_with_one_that_lacks_it() -> None:
    written = group("axes: {bg: [oak, sea]}", "include: [{bg: oak, mood: calm}]", prompt="'{bg} {mood}'")
    assert refused(written) == ["m.yaml:5:17: shots[0].prompt: {mood} has no value where bg is sea"]


def test_all_problems_are_told_at_once() -> None:
    written = group("axes: {bg: [oak]}", "loras: [nobody]", "negative: '{d}'", prompt="'{b} {c}'")
    written += "\n- {name: h, model: nothing, prompt: x}"
    found = "\n".join(refused(written))
    for words in ("{b}", "{c}", "{d}", "unknown LoRA `nobody`", "unknown model `nothing`"):
        assert words in found


def test_an_expanding_value_is_checked_where_it_stands() -> None:
    axes = "axes: {x: {values: [fine, 'a {b'], expand: true}}"
    assert "never closed" in refused(group(axes, prompt="'{x}'"))[0]
    axes = "axes: {x: {values: ['{y}'], expand: true}, y: [z]}"
    assert "{y} is in an axis value" in refused(group(axes, prompt="'{x}'"))[0]


def test_unknown_wildcards_are_named_in_prompts_and_in_expanding_values() -> None:
    axis = Axis(values=("__jbo__",), sets=(NOTHING,), expand=True)
    one = Group(name="g", model="sdxl", prompt="a __joob__ {x}", axes={"x": axis})
    with pytest.raises(InvalidDocument) as caught:
        expand(Manifest(version=1, shots=(one,), wildcards={"job": ("smith",)}), catalog())
    assert [(problem.path, problem.column, problem.message) for problem in caught.value.problems] == [
        ("shots[0].prompt", 3, "unknown wildcard `__joob__`: did you mean `__job__`?"),
        ("shots[0].axes.x[0]", 1, "unknown wildcard `__jbo__`: did you mean `__job__`?"),
    ]


def test_a_value_that_include_adds_to_an_expanding_axis_expands_too() -> None:
    lines = "axes: {x: {values: [a], expand: true}}", "include: [{x: '{b|b}'}]"
    assert prompts(group(*lines, prompt="'{x}'")) == ["a", "b"]


def test_a_prompt_that_can_grow_without_measure_is_refused() -> None:
    long = "x" * 3000
    written = group(f"axes: {{a: [{long}]}}", prompt=f"'{'{a}' * 8}'")
    assert "longer than 20,000 characters" in refused(written)[0]


def test_the_triggers_of_a_lora_that_no_shot_of_the_group_has_are_an_error() -> None:
    written = group("loras: [silent]", prompt="'{ana.trigger} waves'")
    assert refused(written) == [
        "m.yaml:5:12: shots[0].prompt: {ana.trigger}: no shot of group `g` has the LoRA `ana`; "
        "add it to `loras`"
    ]
    lines = "axes: {who: [{name: a, lora: ana}, {name: b, lora: bo}]}"
    assert prompts(group(lines, prompt="'{ana.trigger} waves'")) == [
        "ana woman waves",
        "bo man, grey beard waves",
    ]


def test_a_negative_prompt_without_effect_is_warned_of_once() -> None:
    lines = "axes: {steps: [4, 5]}", "negative: blurry"
    assert warned(group(*lines, model="flux2-klein-4b")) == [
        "m.yaml:7:13: shots[0].negative: `flux2-klein-4b` ignores negative prompts"
    ]
    assert "has no effect on `z-image-turbo` at guidance 0" in warned(group(*lines, "guidance: 0"))[0]
