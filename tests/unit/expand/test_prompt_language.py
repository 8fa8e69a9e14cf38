"""The grammar of templates: what is read as what, and where mistakes are."""

from __future__ import annotations

import sys
from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common.manifest.prompt import MAX_DEPTH, PromptError, Reference, Template, bind, leftovers, nodes, parse
from common.manifest.prompt_variants import ENDLESS, count, draw, longest, nth
from common.manifest.prompt_wildcards import MAX_DEPTH as WILDCARD_DEPTH
from common.manifest.prompt_wildcards import WildcardSet, parse_wildcards
from coordinator.expand.draws import Draws


def wildcards(**lines: tuple[str, ...]) -> WildcardSet:
    parsed, errors = parse_wildcards(lines)
    assert not errors
    return parsed


def texts(template: str, **lines: tuple[str, ...]) -> list[str]:
    """Every text a template can become, in order."""
    known = wildcards(**lines)
    parsed = known.link(parse(template))
    return [nth(parsed, index, known) for index in range(count(parsed, known))]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", ["plain"]),
        ("", [""]),
        ("{a|b}", ["a", "b"]),
        ("{ a | b }!", ["a!", "b!"]),
        ("{a|}x", ["ax", "x"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{2$$ and $$a|b|c}", ["a and b", "a and c", "b and c"]),
        ("{1-2$$a|b}", ["a", "b", "a, b"]),
        ("{0-1$$a|b}", ["", "a", "b"]),
        ("{0.5::a|b}", ["a", "b"]),
        ("{rain|{2$$snow|fog|wind}}", ["rain", "snow, fog", "snow, wind", "fog, wind"]),
        ("{a|b}{c|d}", ["ac", "ad", "bc", "bd"]),
        ("{2$$a||b}", ["a", "a, b", "b"]),
        (r"f\{2.8\}", ["f{2.8}"]),
        (r"{a\|b|c\}}", ["a|b", "c}"]),
        (r"{2$$\|$$a|b}", ["a|b"]),
        (r"back\slash \(x\) \\", [r"back\slash \(x\) \\"]),
        ("a | b", ["a | b"]),
        ("5 $$ {a|costs $$}", ["5 $$ a", "5 $$ costs $$"]),
        ("snake_case __ _x_", ["snake_case __ _x_"]),
        ("{2$$__w__}", ["x, y", "x, z", "y, z"]),
        ("{0-1$$ + $$ __w__ }", ["", "x", "y", "z"]),
        ("{2$$__w__|a}", ["x, a", "y, a", "z, a"]),
        ("__W__", ["x", "y", "z"]),
        ("a __w__ of__w__", [f"a {one} of{other}" for one in "xyz" for other in "xyz"]),
        ("snake__case of other__case", ["snake__case of other__case"]),
        ("a __ b __ c", ["a __ b __ c"]),
    ],
)
def test_a_template_becomes_these_texts(template: str, expected: list[str]) -> None:
    assert texts(template, w=("2::x", "y", "z")) == expected


@pytest.mark.parametrize(
    ("template", "lines", "expected"),
    [
        # Lines expand.
        (
            "a __job__",
            {"job": ("smith", "{old|young} __craft__"), "craft": ("baker", "tailor")},
            ["a smith", "a old baker", "a old tailor", "a young baker", "a young tailor"],
        ),
        # Folders and single underscores.
        ("__art/oil_paint-2__!", {"art/oil_paint-2": ("oil",)}, ["oil!"]),
        # Lines that are equal are picked once.
        ("{2$$__w__}", {"w": ("a", "b", "a", "3::b")}, ["a, b"]),
    ],
)
def test_wildcards_become_their_lines(
    template: str, lines: dict[str, tuple[str, ...]], expected: list[str]
) -> None:
    assert texts(template, **lines) == expected


def test_braces_without_bars_are_references() -> None:
    found = list(nodes(parse("{a} { b.c } {x|{d-1.e_f}} {lora.v2.trigger}")))
    assert found == [
        Reference("a", "", 0),
        Reference("b", "c", 4),
        Reference("d-1", "e_f", 15),
        Reference("lora.v2", "trigger", 26),
    ]


def test_values_are_bound_as_plain_text() -> None:
    template = parse("{x} {y|{x}}")
    plain = bind(template, lambda _: "{a|b}")
    assert [nth(plain, index, {}) for index in range(count(plain, {}))] == ["{a|b} y", "{a|b} {a|b}"]


@pytest.mark.parametrize(
    ("template", "offset", "words"),
    [
        ("a {b", 2, "never closed"),
        ("a {b|{c}", 2, "never closed"),
        ("{a|{b|c}", 0, "never closed"),
        ("a} b", 1, "has no opening brace"),
        ("{}", 0, "neither a reference"),
        ("x {red hair}", 2, "neither a reference"),
        ("{{a|b}}", 0, "an extra pair of braces; write `{a|b}`"),
        ("a {{ season }}", 2, "an extra pair of braces"),
        ("{% if x %}a{% endif %}", 0, "of another program"),
        ("{% if x | y %}a", 0, "of another program"),
        ("a ${season={dry|wet}}", 3, "make `season` an axis"),
        ("{3$$__w__, big}", 0, "3 of 1"),
        ("{101$$__w__}", 1, "the maximum is 100"),
        ("{|}", 0, "empty"),
        ("{2$$|}", 0, "empty"),
        ("{4$$a|b|c}", 0, "4 of 3"),
        ("{0$$a|b}", 1, "is not a count"),
        ("{3-2$$a|b|c}", 1, "is not a count"),
        ("{two$$a|b}", 1, "is not a count"),
        ("{$$a|b}", 1, "is not a count"),
        ("{-1$$a|b}", 1, "is not a count"),
        ("{0::a|b}", 1, "above 0"),
        ("ok {a|0.0::b}", 6, "above 0"),
        ("nul \0", 4, "NUL"),
        ("{a|" * (MAX_DEPTH + 1) + "b" + "}" * (MAX_DEPTH + 1), 3 * MAX_DEPTH, "deeper"),
    ],
)
def test_a_mistake_is_named_with_its_place(template: str, offset: int, words: str) -> None:
    with pytest.raises(PromptError, match=words) as caught:
        parse(template)
    assert caught.value.offset == offset


MARKS = st.sampled_from(
    ["{", "}", "|", "$$", "::", "__", "\\", "2", "-", "0.5", ".", " ", "a", "b c", "é", "\0", ","]
)


@given(st.lists(MARKS, max_size=60).map("".join))
def test_any_text_is_read_or_refused_at_a_place_inside_it(text: str) -> None:
    try:
        offsets = [node.offset for node in nodes(parse(text))]
    except PromptError as error:
        offsets = [error.offset]
    assert all(0 <= offset < len(text) for offset in offsets)


@given(st.text(alphabet=st.characters(exclude_characters="\0_", exclude_categories=["Cs"])))
def test_escaped_text_is_itself(text: str) -> None:
    # A backslash before a mark would be taken for its escape.
    text = text.replace("\\", "/")
    escaped = "".join(f"\\{char}" if char in "{}|" else char for char in text)
    assert texts(escaped) == [text]


@pytest.mark.parametrize(
    "attack",
    [
        "{",
        "\\{",
        "{a|",
        "a$$",
        "{1$$",
        "{a$",
        "__a",
        "__a b",
        "a__ ",
        "__a b__c",
        "_",
        "{0.5::",
        "}",
        "(",
        "{a}",
        "\\",
        "{a|b}",
        "__a__",
    ],
)
def test_reading_takes_time_in_proportion_to_the_text(attack: str) -> None:
    """Counted in calls, not in seconds: four times the text may take five times the calls."""

    def calls(times: int) -> int:
        number = 0

        def counted(*_: object) -> None:
            nonlocal number
            number += 1

        sys.setprofile(counted)
        try:
            parse(attack * times)
        except PromptError:
            pass
        finally:
            sys.setprofile(None)
        return number

    assert calls(4000) <= 5 * calls(1000) + 100


#: Texts that a test lists.
ENOUGH = 300
LEAVES = st.sampled_from(["a", "b", "cc", "__w__", "d e"])


def _variant(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    options = st.lists(inner, min_size=1, max_size=3)
    return st.tuples(options, st.integers(0, 3), st.integers(0, 3)).map(_spelled)


def _spelled(parts: tuple[list[str], int, int]) -> str:
    options, one, other = parts
    low, high = sorted((min(one, len(options)), min(other, len(options))))
    return f"{{{low}-{max(1, high)}$$+$${'|'.join(options)}}}"


TEMPLATES = st.lists(st.recursive(LEAVES, _variant, max_leaves=5), max_size=3).map(" ".join)


def every(template: Template, lines: tuple[str, ...]) -> list[str]:
    """All texts of a template by plain enumeration, in no particular order."""
    results = [""]
    for node in template:
        match node:
            case str():
                own = [node]
            case Reference():
                raise AssertionError
            case _ if hasattr(node, "options"):
                own = []
                for size in range(node.low, node.high + 1):
                    for some in combinations(node.options, size):
                        ways = [[]]
                        for option in some:
                            ways = [[*way, text] for way in ways for text in every(option.body, lines)]
                        own += [node.separator.join(filter(None, way)) for way in ways]
            case _:
                own = list(lines)
        results = [before + text for before in results for text in own]
    return results


@given(TEMPLATES)
def test_counting_and_numbering_agree_with_plain_enumeration(template: str) -> None:
    lines = ("one", "two")
    known = wildcards(w=lines)
    parsed = parse(template)
    assume(count(parsed, known) <= ENOUGH)
    found = [nth(parsed, index, known) for index in range(count(parsed, known))]
    assert sorted(found) == sorted(every(parsed, lines))


@given(TEMPLATES, st.integers(0, 1000))
def test_every_draw_is_one_of_the_texts_and_no_text_is_longer_than_said(template: str, seed: int) -> None:
    lines = ("one", "two")
    known = wildcards(w=lines)
    parsed = parse(template)
    assume(count(parsed, known) <= ENOUGH)
    drawn = draw(parsed, Draws(seed, "g", 0, ()), known)
    assert drawn in set(every(parsed, lines))
    assert len(drawn) <= longest(parsed, known)


@given(st.integers(0, 5000), st.integers(1, 4), st.integers(0, 3))
def test_several_lines_of_a_wildcard_are_different(seed: int, low: int, more: int) -> None:
    known = wildcards(w=tuple(f"{weight}::{letter}" for weight, letter in enumerate("abcdefg", start=1)))
    template = parse(f"{{{low}-{low + more}$$ $$__w__}}")
    drawn = draw(known.link(template), Draws(seed, "g", 0, ()), known).split()
    assert drawn == sorted(set(drawn))
    assert low <= len(drawn) <= low + more


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("__a1___camera__", [6]),
        ("a __hair", [2]),
        ("a hair__ mug", [2]),
        ("__{a|b}__", [0, 2]),
        ("__ hair color __", [0, 14]),
        ("(__a, b__)", [0, 6]),
        ("__a__ __b__ __people/*__ __hair color__", []),
        ("snake__case, fill in the ____", []),
        ("{my__axis} {a__b.c__d}", []),
    ],
)
def test_underscores_that_no_wildcard_takes_are_found_where_their_word_begins(
    text: str, offsets: list[int]
) -> None:
    assert leftovers(text) == offsets


@pytest.mark.parametrize(
    ("template", "shares"),
    [
        ("__w__", {"often": 0.9, "rarely": 0.1}),
        ("{0.9::often|0.1::rarely}", {"often": 0.9, "rarely": 0.1}),
        ("{a|b|c}", dict.fromkeys("abc", 1 / 3)),
    ],
)
def test_weights_set_how_often_something_is_drawn(template: str, shares: dict[str, float]) -> None:
    known = wildcards(w=("9::often", "rarely"))
    drawn = [draw(parse(template), Draws(seed, "g", 0, ()), known) for seed in range(2000)]
    assert {text: drawn.count(text) / len(drawn) for text in shares} == pytest.approx(shares, abs=0.03)


def test_a_count_that_no_one_can_render_is_still_counted() -> None:
    assert count(parse("{a|b}" * 50), {}) == 2**50
    assert count(parse("{a|b}" * 5000), {}) == ENDLESS


@pytest.mark.parametrize(
    ("lines", "name", "line", "offset", "words"),
    [
        ({"a": ("x", "y __b__"), "b": ("__a__",)}, "a", 1, 2, "contains itself: __a__ → __b__ → __a__"),
        ({"a": ("see __a__",)}, "a", 0, 4, "contains itself: __a__ → __a__"),
        ({"a": ("x", "{y")}, "a", 1, 0, "never closed"),
        ({"a": ("{x}",)}, "a", 0, 0, "references are not supported"),
        ({"a": ("__jib__",), "job": ("x",)}, "a", 0, 0, "did you mean `__job__`"),
        ({"a": ()}, "a", 0, 0, "no lines"),
        (
            {"a": ("x {1-4$$__b__}",), "b": ("x", "y", "2::x")},
            "a",
            0,
            2,
            "4 different lines of a wildcard that has 2",
        ),
        *(({"a": ("x", line)}, "a", 1, 0, "weight") for line in ("0::x", "-1::x", "1,5::x", "50%::x")),
        ({"a": ("__b__" * 200,), "b": ("x" * 200,)}, "a", 0, 0, "20,000 characters"),
    ],
)
def test_a_wildcard_that_cannot_be_used_is_named_with_its_line(
    lines: dict[str, tuple[str, ...]], name: str, line: int, offset: int, words: str
) -> None:
    error = parse_wildcards(lines)[1][0]
    assert (error.name, error.line, error.offset) == (name, line, offset)
    assert words in error.message


def test_wildcards_nest_ten_levels_and_no_deeper() -> None:
    def chain(levels: int) -> dict[str, tuple[str, ...]]:
        return {f"w{i}": (f"__w{i + 1}__",) for i in range(levels - 1)} | {f"w{levels - 1}": ("end",)}

    assert not parse_wildcards(chain(WILDCARD_DEPTH))[1]
    errors = parse_wildcards(chain(WILDCARD_DEPTH + 1))[1]
    assert [error.message for error in errors] == ["wildcards nest deeper than 10 levels"]


def test_a_bomb_of_wildcards_is_refused_without_writing_it_out() -> None:
    bomb = {f"w{i}": (f"__w{i + 1}__" * 10,) for i in range(9)} | {"w9": ("boom",)}
    errors = parse_wildcards(bomb)[1]
    assert errors
    assert all("20,000 characters" in error.message for error in errors)
