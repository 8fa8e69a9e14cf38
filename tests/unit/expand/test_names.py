"""Output names: safe everywhere, unique, and an error where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidDocument
from coordinator.expand import check_names
from coordinator.expand.output_names import MAX_BYTES, clean, safe
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
        ("{persona.nam}", "{persona.nam}: `ana` has no field `nam`: did you mean `name`?"),
        ("{a|b}", "variants and wildcards have no place"),
        ("__w__", "variants and wildcards have no place"),
        ("{x", "this brace is never closed"),
        ("{trigger}", "unknown reference {trigger}"),
    ],
)
def test_a_pattern_that_reads_nothing_is_named_with_its_line(pattern: str, words: str) -> None:
    top = f"output: {{name: '{pattern}'}}"
    (problem,) = refused(group("axes: {persona: [{name: ana}]}", top=top))
    assert problem.startswith("m.yaml:2:")
    assert f"output.name: {words}" in problem


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
    assert message.startswith("m.yaml:2:16: output.name: `ana` would be the name of two images: ")
    assert "group `g` where who is ana with seed 0" in message
    assert "group `g` where who is ana with seed 1" in message


def test_names_that_differ_in_case_or_unicode_form_only_collide() -> None:
    assert "two images" in collision("{v}", "axes: {v: [Oak, oak]}", "seeds: [1]", "negative: '{v}'")
    assert "two images" in collision("{v}", 'axes: {v: ["Caf\\u00e9", "Cafe\\u0301"]}', "negative: '{v}'")
    assert "two images" in collision("{v}", "axes: {v: ['a:b', 'a?b']}", "negative: '{v}'")


def test_a_collision_is_told_shortly_with_what_makes_it_one() -> None:
    assert "where v is empty with seed 0" in collision("{v}x", "axes: {v: ['', ' ']}", "negative: '{v}'")
    accents = collision("{v}", 'axes: {v: ["Caf\\u00e9", "Cafe\\u0301"]}', "negative: '{v}'")
    assert "ways to encode accents" in accents
    long = f"axes: {{v: [{'x' * 249}a, {'x' * 249}b]}}"
    assert len(collision("{v}", long, "negative: '{v}'")) < 400


def test_a_name_that_only_another_group_has_names_the_group_without_it() -> None:
    first = group("axes: {c: [x]}", top="output: {name: '{c}-{index}'}")
    (problem,) = refused(first + "\n- {name: h, model: sdxl, prompt: x}")
    assert problem == "m.yaml:2:17: output.name: group `h` has no {c}"


def test_the_ending_that_the_format_gives_is_not_doubled() -> None:
    assert names("{seed}.png") == ["0"]
    found = expanded(group(top="output: {name: '{seed}.jpg', format: webp}"))
    assert found[0].name == "0"
    assert [warning.message for warning in found.warnings] == [
        "`.jpg` is left out: the files are webp by `output.format`"
    ]


def test_the_same_shot_twice_under_one_name_is_one_image() -> None:
    found = expanded(group("axes: {v: [oak, Oak]}", top="output: {name: '{seed}'}"))
    assert found[0].id == found[1].id
    check_names(found)
