"""Output names: safe everywhere, unique, and an error where they are not."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidDocument
from coordinator.expand import check_names
from coordinator.expand.output_names import MAX_BYTES, _cut, clean, safe
from tests.unit.expand.making import TWO, expanded, group


def named(pattern: str, *lines: str) -> str:
    return group(*lines, top=f"output: {{name: '{pattern}'}}")


def names(pattern: str, *lines: str) -> list[str]:
    return [planned.name for planned in expanded(named(pattern, *lines))]


def collision(manifest: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        check_names(expanded(manifest))
    return str(caught.value)


ESCAPES = r"axes: {v: ['../../etc/passwd', 'C:\x', '..', 'a/b', ' dot. ', 'con', 'LPT1.txt', '']}"


@pytest.mark.parametrize(
    ("pattern", "lines", "expected"),
    [
        # Axes, fields, the seed, the group and a padded index.
        (
            "{group}/{who}-{who.look}/{bg.index}-{bg}-{seed}-{index}",
            ["axes: {who: [{name: ana, look: red}], bg: [oak, sea]}", "seeds: [10, 3, 5, 6, 7, 8]"],
            [
                f"g/ana-red/{bg}-{seed}-{index:02}"
                for index, (bg, seed) in enumerate(product(("0-oak", "1-sea"), (10, 3, 5, 6, 7, 8)))
            ],
        ),
        # Values make no folders and no way out.
        (
            "{v}/{index}",
            [ESCAPES],
            ["-..-etc-passwd/0", "C--x/1", "_/2", "a-b/3", "dot/4", "_con/5", "_LPT1.txt/6", "7"],
        ),
        # The ending that the format gives is not doubled.
        ("{seed}.png", [], ["0"]),
    ],
)
def test_a_pattern_makes_these_names(pattern: str, lines: list[str], expected: list[str]) -> None:
    assert names(pattern, *lines) == expected


def test_the_default_pattern_is_unique() -> None:
    second = "\n- {name: h, model: sdxl, prompt: x, seeds: [1, 2]}"
    found = expanded(group("axes: {a: [x, X]}", "seeds: {count: 3, mode: random}") + second)
    check_names(found)
    assert len({planned.name.lower() for planned in found}) == 8


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


def test_the_same_shot_twice_under_one_name_is_one_image() -> None:
    found = expanded(group("axes: {v: [oak, Oak]}", top="output: {name: '{seed}'}"))
    assert found[0].id == found[1].id
    check_names(found)


def test_colliding_names_are_refused_with_both_shots_and_what_ends_it() -> None:
    for pattern, remedy in (("{who}", "{who}-{index}"), ("{who}.png", "{who}-{index}"), ("x", "x-{index}")):
        lines = "axes: {who: [ana, bo]}", "seeds: 2"
        message = collision(named(pattern, *lines))
        assert message.startswith("m.yaml:2:16: output.name: two images would have the name ")
        assert "group `g` where who is ana with seed 0" in message
        assert f'or write `"{remedy}"`' in message
        check_names(expanded(named(remedy, *lines)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        # What some file system takes for equal: case, form, what cleaning and endings leave, ends.
        *(
            (f'["{one}", "{other}"]', "two images")
            for one, other in (
                *(("Oak", "oak"), ("a:b", "a?b"), ("a.png", "a.jpg"), ("a", "a."), ("a", "a "), ("ß", "SS")),
                *(("İx", "i̇x"), ("ıx", "Ix"), ("ﬁ", "FI")),
            )
        ),
        ('["Caf\\u00e9", "Cafe\\u0301"]', "encoding of accents"),
        ("['x', 'x ']", "where v is x with seed 0"),
        (f"[{'x' * 190}a, {'x' * 190}A]", "two images"),
    ],
)
def test_names_that_some_file_system_takes_for_equal_collide(values: str, told: str) -> None:
    message = collision(named("{v}", f"axes: {{v: {values}}}", "negative: '{v}'"))
    assert told in message
    assert len(message) < 450


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


@pytest.mark.parametrize(
    ("first", "second", "names", "made"),
    [
        (
            "a/{p}",
            "name: 'b/{q}', format: png",
            ["a/u", "a/v", "b/u", "b/w"],
            [("webp", 80), ("webp", 80), ("png", 0), ("png", 0)],
        ),
        # What a group does not say stays.
        (
            "{p}",
            "quality: 70",
            ["u", "v", "2", "3"],
            [("webp", 80), ("webp", 80), ("webp", 70), ("webp", 70)],
        ),
    ],
)
def test_groups_may_have_an_output_of_their_own(
    first: str, second: str, names: list[str], made: list[tuple[str, int]]
) -> None:
    found = expanded(TWO.format(top="{index}", first=first, second=second))
    assert [planned.name for planned in found] == names
    assert [(planned.shot.format, planned.shot.quality) for planned in found] == made
    check_names(found)


def test_names_of_two_groups_collide() -> None:
    message = collision(TWO.format(top="{index}", first="{p}", second="name: '{q}'"))
    assert message.startswith("m.yaml:6:")
    assert "shots[1].output.name: two images would have the name `u`" in message
    assert "group `a` where p is u with seed 0 and group `b` where q is u with seed 0" in message
