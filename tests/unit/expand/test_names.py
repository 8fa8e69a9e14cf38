"""Output names: safe everywhere, unique, and an error where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidDocument
from coordinator.expand import check_names
from coordinator.expand.output_names import MAX_BYTES, _cut, clean, safe
from tests.unit.expand.making import expanded, group, refused


def names(pattern: str, *lines: str) -> list[str]:
    top = f"output: {{name: '{pattern}'}}"
    return [planned.name for planned in expanded(group(*lines, top=top))]


def collision(pattern: str, *lines: str) -> str:
    found = expanded(group(*lines, top=f"output: {{name: '{pattern}'}}"))
    with pytest.raises(InvalidDocument) as caught:
        check_names(found)
    return str(caught.value)


def test_a_pattern_takes_axes_fields_the_seed_the_group_and_a_padded_index() -> None:
    lines = "axes: {who: [{name: ana, look: red}], bg: [oak, sea]}", "seeds: [10, 3, 5, 6, 7, 8]"
    found = names("{group}/{who}-{who.look}/{bg.index}-{bg}-{seed}-{index}", *lines)
    assert found[0] == "g/ana-red/0-oak-10-00"
    assert found[-1] == "g/ana-red/1-sea-8-11"


def test_the_default_pattern_is_unique() -> None:
    second = "\n- {name: h, model: sdxl, prompt: x, seeds: [1, 2]}"
    found = expanded(group("axes: {a: [x, X]}", "seeds: {count: 3, mode: random}") + second)
    check_names(found)
    assert len({planned.name.lower() for planned in found}) == 8


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{personna}", "unknown reference {personna}: did you mean `persona`?"),
        ("{persona.nam}", "{persona.nam}: no value of `persona` has a field `nam`: did you mean `name`?"),
        ("{a|b}", "variants and wildcards are not allowed"),
        ("__w__", "variants and wildcards are not allowed"),
        ("{x", "this brace is never closed"),
        ("{trigger}", "unknown reference {trigger}"),
    ],
)
def test_a_pattern_that_reads_nothing_is_named_with_its_line(pattern: str, words: str) -> None:
    top = f"output: {{name: '{pattern}'}}"
    (problem,) = refused(group("axes: {persona: [{name: ana}]}", top=top))
    assert problem.startswith("m.yaml:2:")
    assert f"output.name: {words}" in problem


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[seed]-[c]", "`[seed]` is plain text in a name; write `{seed}`"),
        ("%c%", "`%c%` is plain text in a name; write `{c}`"),
        ("$c", "`$c` is plain text in a name; write `{c}`"),
        ("{c}-%04d", "`%04d` is plain text in a name; write `{index}`"),
        ("{c}-{seed:04d}", "`{seed:04d}`: number formats are not supported; write `{seed}`"),
        (r"out\{c}", r"a `\` escapes the following brace; separate folders with `/`"),
    ],
)
def test_a_pattern_of_another_program_is_refused_with_what_to_write(pattern: str, words: str) -> None:
    found = refused(group("axes: {c: [red]}", top=f"output: {{name: '{pattern}'}}"))
    assert any(f"output.name: {words}" in problem for problem in found)


@pytest.mark.parametrize("pattern", ["[final] {c}", "100% {c}", "$5 {c}", "{c} <3"])
def test_signs_that_name_nothing_are_text_of_a_pattern(pattern: str) -> None:
    assert expanded(group("axes: {c: [red]}", top=f"output: {{name: '{pattern}'}}")).warnings == ()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("/out/{seed}", "relative to the folder of the job"),
        ("../{seed}", "relative to the folder of the job"),
        ("{seed}.tiff", "`.tiff` remains part of the name"),
    ],
)
def test_a_pattern_that_is_taken_otherwise_is_told_of(pattern: str, words: str) -> None:
    found = expanded(group("", top=f"output: {{name: '{pattern}'}}"))
    assert any(words in warning.message for warning in found.warnings)


def test_values_make_no_folders_and_no_way_out() -> None:
    values = r"['../../etc/passwd', 'C:\x', '..', 'a/b', ' dot. ', 'con', 'LPT1.txt', '']"
    assert names("{v}/{index}", f"axes: {{v: {values}}}") == [
        "-..-etc-passwd/0",
        "C--x/1",
        "_/2",
        "a-b/3",
        "dot/4",
        "_con/5",
        "_LPT1.txt/6",
        "7",
    ]


ODD = st.text() | st.sampled_from(
    ["CON", "nul.txt", "..", "...", ". .", "a" * 400, "é" * 300, "x\u202ey", "\ud800"]
)


@given(ODD)
def test_a_cleaned_part_is_a_file_name_on_every_system(text: str) -> None:
    part = clean(safe(text))
    assert part
    assert part not in (".", "..")
    assert not set(part) & set('<>:"/\\|?*')
    assert part == part.strip(" .")
    assert len(part.encode()) <= MAX_BYTES
    assert part.partition(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert all(ord(char) >= 32 for char in part)
    assert clean(part) == part


def test_colliding_names_are_refused_with_both_shots() -> None:
    message = collision("{who}", "axes: {who: [ana, bo]}", "seeds: 2")
    assert message.startswith("m.yaml:2:16: output.name: two images would have the name `ana`: ")
    assert "group `g` where who is ana with seed 0" in message
    assert "group `g` where who is ana with seed 1" in message


def test_names_that_differ_in_case_or_unicode_form_only_collide() -> None:
    assert "two images" in collision("{v}", "axes: {v: [Oak, oak]}", "seeds: [1]", "negative: '{v}'")
    assert "two images" in collision("{v}", 'axes: {v: ["Caf\\u00e9", "Cafe\\u0301"]}', "negative: '{v}'")
    assert "two images" in collision("{v}", "axes: {v: ['a:b', 'a?b']}", "negative: '{v}'")


def test_a_collision_is_told_shortly_with_what_makes_it_one() -> None:
    assert "where v is empty with seed 0" in collision("{v}x", "axes: {v: ['', ' ']}", "negative: '{v}'")
    accents = collision("{v}", 'axes: {v: ["Caf\\u00e9", "Cafe\\u0301"]}', "negative: '{v}'")
    assert "encoding of accents" in accents
    long = f"axes: {{v: [{'x' * 190}a, {'x' * 190}A]}}"
    assert len(collision("{v}", long, "negative: '{v}'")) < 450


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [("{who}", '"{who}-{index}"'), ("{who}.png", '"{who}-{index}"'), ("x", '"x-{index}"')],
)
def test_what_a_collision_advises_ends_it(pattern: str, remedy: str) -> None:
    lines = "axes: {who: [ana, bo]}", "seeds: 2"
    assert f"or write `{remedy}`" in collision(pattern, *lines)
    check_names(expanded(group(*lines, top=f"output: {{name: {remedy}}}")))


def test_a_name_that_only_another_group_has_names_the_group_without_it() -> None:
    first = group("axes: {c: [x]}", top="output: {name: '{c}-{index}'}")
    (problem,) = refused(first + "\n- {name: h, model: sdxl, prompt: x}")
    told = "group `h` has no {c}; give it that axis, or its own `output` with a name"
    assert problem == f"m.yaml:2:17: output.name: {told}"


def test_the_ending_that_the_format_gives_is_not_doubled() -> None:
    assert names("{seed}.png") == ["0"]
    found = expanded(group(top="output: {name: '{seed}.jpg', format: webp}"))
    assert found[0].name == "0"
    assert [warning.message for warning in found.warnings] == ["`.jpg` is removed: `output.format` is webp"]


def test_the_same_shot_twice_under_one_name_is_one_image() -> None:
    found = expanded(group("axes: {v: [oak, Oak]}", top="output: {name: '{seed}'}"))
    assert found[0].id == found[1].id
    check_names(found)


@pytest.mark.parametrize(
    "scene", ["雪" * 67, "雪" * 300, "e\u0301" * 150, "x" * 500, "\U0001f44b\U0001f3fd" * 60]
)
@pytest.mark.parametrize(
    "pattern", ["{scene}-{seed}", "a/{scene}-{index}-{seed}/b", "{seed} {scene} end", "{scene}{index}"]
)
def test_a_long_value_is_shortened_and_what_tells_names_apart_is_not(scene: str, pattern: str) -> None:
    found = expanded(
        group(f'axes: {{scene: ["{scene}"]}}', "seeds: [7, 12]", top=f"output: {{name: '{pattern}'}}")
    )
    check_names(found)
    assert found[0].name != found[1].name
    for number, planned in enumerate(found):
        assert all(len(part.encode()) <= MAX_BYTES for part in planned.name.split("/"))
        shown = planned.name.split("/")[1] if "/" in pattern else planned.name
        if "{seed}" in pattern:
            assert str(planned.shot.seed) in shown
        if "{index}" in pattern:
            assert shown.endswith(f"{number}") or f"-{number}-" in shown


def test_the_longest_values_are_shortened_and_short_ones_kept_whole() -> None:
    axes = f"axes: {{a: [{'x' * 300}], b: [oak], c: [{'y' * 300}]}}"
    ((name),) = names("{a} in {b} with {c}", axes)
    first, kept, last = name.partition(" in oak with ")
    assert kept
    assert abs(len(first) - len(last)) <= 1
    assert len(name) == MAX_BYTES


def test_values_that_begin_alike_keep_names_of_their_own_when_they_are_shortened() -> None:
    axes = f"axes: {{v: [{'x' * 300}a, {'x' * 300}b]}}"
    first, second = names("{v}-{seed}", axes)
    assert first != second
    assert names("{v}-{seed}", axes) == [first, second]


@given(st.text(st.sampled_from("e\u0301雪x\u200d\U0001f3fd "), min_size=201, max_size=400))
def test_a_shortened_value_ends_at_a_whole_character(text: str) -> None:
    kept = _cut(text, 100).rpartition("~")[0]
    assert text.startswith(kept)
    assert len(_cut(text, 100).encode()) <= 100


def test_a_pattern_without_room_for_its_values_is_refused() -> None:
    top = f"output: {{name: '{'x' * 190}{{v}}'}}"
    (problem,) = refused(group("axes: {v: [a]}", top=top))
    assert (
        "output.name: leaves no space for its values within 200 bytes; shorten the text between them"
        in problem
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("00001-0-3.png", "00001-0-3"),
        ("a.PNG", "a"),
        ("a.jpeg", "a"),
        ("a.webp", "a"),
        ("a.b.png", "a.b"),
        ("a.txt", "a.txt"),
        ("v1.5", "v1.5"),
        (".png", "png"),
    ],
)
def test_the_ending_of_a_value_is_not_doubled(value: str, name: str) -> None:
    assert names("{v}", f"axes: {{v: [{value}]}}") == [name]
    assert names("{v}.png", f"axes: {{v: [{value}]}}") == [name]
    assert names("{v}-{seed}", f"axes: {{v: [{value}]}}") == [f"{clean(value)}-0"]


def test_a_value_that_ends_like_another_format_is_told_of() -> None:
    found = expanded(
        group("axes: {v: [a.jpg, b.jpg, c.png]}", "negative: '{v}'", top="output: {name: '{v}'}")
    )
    told = "`.jpg` is removed: `output.format` is png"
    assert [warning.message for warning in found.warnings].count(told) == 1


def test_names_that_are_equal_without_their_endings_collide() -> None:
    assert "two images" in collision("{v}", "axes: {v: [a.png, a.jpg]}", "negative: '{v}'")


@pytest.mark.parametrize(
    ("one", "other"), [("a", "a."), ("a", "a "), ("ß", "SS"), ("İx", "i̇x"), ("ıx", "Ix"), ("ﬁ", "FI")]
)
def test_names_that_some_file_system_takes_for_equal_collide(one: str, other: str) -> None:
    assert "two images" in collision("{v}", f'axes: {{v: ["{one}", "{other}"]}}', "negative: '{v}'")


TWO = """\
version: 1
defaults: {{model: sdxl, prompt: x}}
output: {{name: "{top}", format: webp, quality: 80}}
shots:
- {{name: a, axes: {{p: [u, v]}}, negative: "{{p}}", output: {{name: "{first}"}}}}
- {{name: b, axes: {{q: [u, w]}}, negative: "not {{q}}", output: {{{second}}}}}
"""


def test_groups_with_different_axes_have_name_patterns_of_their_own() -> None:
    found = expanded(TWO.format(top="{index}", first="a/{p}", second="name: 'b/{q}', format: png"))
    assert [planned.name for planned in found] == ["a/u", "a/v", "b/u", "b/w"]
    assert [(each.shot.format, each.shot.quality) for each in found] == [("webp", 80)] * 2 + [("png", 0)] * 2
    check_names(found)


def test_a_group_keeps_what_it_does_not_say_of_the_output() -> None:
    found = expanded(TWO.format(top="{index}", first="{p}", second="quality: 70"))
    assert [planned.name for planned in found] == ["u", "v", "2", "3"]
    assert [each.shot.quality for each in found] == [80, 80, 70, 70]


def test_names_of_two_groups_collide() -> None:
    found = expanded(TWO.format(top="{index}", first="{p}", second="name: '{q}'"))
    with pytest.raises(InvalidDocument) as caught:
        check_names(found)
    message = str(caught.value)
    assert message.startswith("m.yaml:6:")
    assert "shots[1].output.name: two images would have the name `u`" in message
    assert "group `a` where p is u with seed 0 and group `b` where q is u with seed 0" in message


def test_a_wrong_pattern_of_a_group_is_named_there() -> None:
    (problem,) = refused(TWO.format(top="{index}", first="{p}", second="name: '{qq}'"))
    assert problem.startswith("m.yaml:6:")
    assert "shots[1].output.name: unknown reference {qq}" in problem


def test_a_pattern_that_every_group_replaces_is_not_read() -> None:
    assert len(expanded(TWO.format(top="{nothing}", first="{p}", second="name: '2{q}'"))) == 4
