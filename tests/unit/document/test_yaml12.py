"""YAML is read by the 1.2 core schema, with places and spellings, and without bombs."""

from __future__ import annotations

import pytest
import yaml

from common.document import builder, yaml12
from common.document.source import SourceText
from common.document.tree import Mapping, Place, Scalar, Sequence, YamlNode, find
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument


def read(content: str | bytes) -> SourceText:
    text, problems = read_yaml(content, "m.yaml")
    assert not problems
    return text


def value(content: str) -> YamlNode:
    root = read(f"key: {content}\n").root
    assert isinstance(root, Mapping)
    return root.entries["key"][1]


def scalar(content: str) -> Scalar:
    node = value(content)
    assert isinstance(node, Scalar)
    return node


@pytest.fixture(params=["C", "Python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(yaml12, "LOADER", yaml.SafeLoader)


@pytest.mark.parametrize(
    ("spelled", "kind"),
    [
        ("9:16", "text"), ("no", "text"), ("on", "text"), ("1_000", "text"), ("2026-11-20", "text"),
        ("<<", "text"), ("=", "text"), ("0b11", "text"), ("1e", "text"), ("'1'", "text"), ('"true"', "text"),
        ("true", "bool"), ("FALSE", "bool"), ("~", "null"), ("null", "null"), ("", "null"),
        ("007", "int"), ("-12", "int"), ("0o17", "int"), ("0x1F", "int"),
        ("1e3", "float"), (".5", "float"), ("5.", "float"), ("-.inf", "float"), (".nan", "float"),
    ],
)  # fmt: skip
def test_plain_scalars_are_what_yaml_1_2_takes_them_for(spelled: str, kind: str) -> None:
    assert scalar(spelled).kind == kind


@pytest.mark.parametrize(
    ("spelled", "number"),
    [("007", 7), ("0o17", 15), ("0x1F", 31), ("1e3", 1000.0), ("+.5", 0.5), ("no", None)],
)
def test_numbers_are_decimal_unless_they_say_otherwise(spelled: str, number: float | None) -> None:
    assert scalar(spelled).number() == number


@pytest.mark.parametrize("spelled", ["9:16", "no", "007", "1e3", "1_000"])
def test_a_scalar_keeps_its_source_spelling(spelled: str) -> None:
    assert scalar(spelled).text == spelled


def test_a_number_of_thousands_of_digits_is_infinite_at_once() -> None:
    assert scalar("9" * 1_000_000).number() == float("inf")


@pytest.mark.usefixtures("loader")
def test_every_key_and_value_knows_its_line_and_column() -> None:
    root = read("version: 1\nshots:\n- name: 'a'\n  axes: {bg: [white, oak]}\n").root
    places = {path: find(root, path)[1] for path in ("shots[0].name", "shots[0].axes.bg[1]", "shots[0].axes")}
    assert {path: (place.line, place.column) for path, place in places.items()} == {
        "shots[0].name": (3, 9),
        "shots[0].axes.bg[1]": (4, 22),
        "shots[0].axes": (4, 3),
    }


def test_a_path_that_leads_nowhere_ends_at_the_nearest_place_above() -> None:
    _, place, rest = find(read("shots:\n- name: a\n").root, "shots[0].gone.deeper")
    assert ((place.line, place.column), rest) == ((2, 3), "gone.deeper")


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("content", "line", "fragment"),
    [
        ("a: 1\nb: @x\n", 2, "put it in quotes"),
        ("a: 1\nb: {x} y\n", 2, "put it in quotes"),
        ("a: 1\nb:\n\t- x\n", 3, "use spaces"),
        ("a: b: c\n", 1, "quotes"),
        ("a: 1\nb: \x07\n", 2, "control character 0x07"),
        ("a: 1\n--- \nb: 1\n", 2, "several documents"),
        ("a: &x [*x]\n", 1, "inside its own anchor"),
        ("? [a]\n: b\n", 1, "cannot be a key"),
        ("? {a: b}\n: b\n", 1, "cannot be a key"),
        ("b: &x [1]\n? *x\n: c\n", 2, "cannot be a key"),
        ("[" * 200_000, 1, "deeper than"),
        ("a: \ud800\n", 1, "UTF-8"),
        (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        ("", 1, "empty"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_its_line(
    content: str | bytes, line: int, fragment: str
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_yaml(content, "m.yaml")
    (problem,) = caught.value.problems
    assert problem.line == line
    assert fragment in problem.message


def test_the_culprit_is_named_and_not_a_sound_line_above_it() -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_yaml("defaults: {model: x}\n shots: y\n", "m.yaml")
    assert caught.value.problems[0].line == 2
    assert "{model" not in caught.value.problems[0].message


@pytest.mark.usefixtures("loader")
def test_duplicate_keys_and_tags_are_all_reported_and_hide_nothing() -> None:
    text, problems = read_yaml("a: 1\na: 2\nb: !!int 3\nb: 4\n", "m.yaml")
    assert [(p.path, p.line) for p in problems] == [("a", 2), ("b", 3), ("b", 4)]
    assert isinstance(text.root, Mapping)
    assert list(text.root.entries) == ["a", "b"]


def test_an_alias_is_the_value_of_its_anchor() -> None:
    root = read("a: &x {k: [1]}\nb: *x\n").root
    assert isinstance(root, Mapping)
    assert root.get("a") is root.get("b")


def test_a_bomb_of_aliases_is_refused_before_it_is_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    with pytest.raises(InvalidDocument, match="values"):
        read_yaml("\n".join(lines), "m.yaml")


def test_a_large_list_that_is_no_bomb_is_read() -> None:
    root = read("a:\n" + "- x\n" * 100_000).root
    assert isinstance(root, Mapping)
    items = root.get("a")
    assert isinstance(items, Sequence)
    assert len(items.items) == 100_000 < builder.MAX_NODES


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="8 MiB"):
        read_yaml(b"#" * (yaml12.MAX_BYTES + 1), "m.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    root = read("\ufeffversion: 1\n".encode()).root
    assert isinstance(root, Mapping)
    assert root.entries["version"][0] == Place(1, 1, 0)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("content", "offset", "line", "column"),
    [
        ("p: a {b\n", 2, 1, 6),
        ('p: "a {b"\n', 2, 1, 7),
        ("p: 'it''s {b'\n", 5, 1, 11),
        ("p: |\n  one\n  a {b\n", 6, 3, 5),
        ("p: >-\n  one\n  a {b\n", 6, 3, 5),
        ("p: one\n  a {b\n", 6, 2, 5),
        ('p: "one\n\n  a {b"\n', 6, 3, 5),
    ],
)
def test_an_offset_into_a_text_is_found_in_the_source(
    content: str, offset: int, line: int, column: int
) -> None:
    problem = read(content).problem("p", "brace", offset)
    assert (problem.line, problem.column) == (line, column)


def test_an_offset_behind_an_escape_falls_back_to_the_start() -> None:
    problem = read('p: "\\u00e9 {b"\n').problem("p", "brace", 2)
    assert (problem.line, problem.column) == (1, 4)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\x0c"])
@pytest.mark.parametrize("style", ["{}", "'{}'", '"{}"', "|\n  {}\n", ">\n  {}\n"])
def test_no_other_character_ends_a_line(char: str, style: str) -> None:
    text = f"a lamp{char}with \ue000 shade"
    document = read(f"a{char}: {style.format(text)}\nb: [x{char}y, {{c: d}}]\n")
    assert isinstance(document.root, Mapping)
    value = document.root.get(f"a{char}")
    assert isinstance(value, Scalar)
    assert value.text == text
    assert document.problem("b[1]", "x").line == 2 + style.count("\n")


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("header", ["|", ">", "|-", "|+", ">+", ">-"])
def test_a_block_of_text_ends_with_its_last_character(header: str) -> None:
    root = read(f"a: {header}\n  one\n\n\nb: {header}\n  x\n").root
    assert isinstance(root, Mapping)
    assert [value.text for _, _, value in root.items() if isinstance(value, Scalar)] == ["one", "x"]


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("content", "line", "column", "value"),
    [
        ("c: [red, #ff0000, blue]\n", 1, 10, "#ff0000"),
        ("c: [red, #ff0000, blue]\nd: 1\n", 1, 10, "#ff0000"),
        ('- {p: "{c}", axes: {c: [red, #ff0000, blue]}}\n', 1, 30, "#ff0000"),
        ("c: [red,\n  'a #b', #abc]\nd: 1\n", 2, 11, "#abc"),
    ],
)
def test_a_comment_inside_brackets_is_named_at_its_place(
    content: str, line: int, column: int, value: str
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(content)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert f'`"{value}"`' in problem.message
