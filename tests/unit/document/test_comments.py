"""A `#` that was hardly meant as a comment is told of; ordinary comments are not."""

from __future__ import annotations

import pytest

from common.document.yaml12 import read_yaml


def told(content: str) -> tuple[list[str], list[str]]:
    """Problems and doubts, each with its line and column."""
    text, problems = read_yaml(content, "m.yaml")
    return [each.at("m") for each in problems], [each.at("m") for each in text.doubts]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("color: #ff0000\n", 'm:1:8: color: `#` starts a comment here; write `"#ff0000"`'),
        ("a:\n- red\n- #00ff00\n", 'm:3:3: a[1]: `#` starts a comment here; write `"#00ff00"`'),
        ("a: {b: x,\n  c: #1\n  }\n", 'm:2:6: a.c: `#` starts a comment here; write `"#1"`'),
        ("a: [red,\n  #f00,\n  blue]\n", 'm:2:3: a: `#` starts a comment here; write `"#f00"`'),
        ("a: [red,\n  #f00\n  ]\n", 'm:2:3: a: `#` starts a comment here; write `"#f00"`'),
    ],
)
def test_a_value_that_a_comment_swallows_is_wrong(content: str, place: str) -> None:
    assert told(content) == ([place], [])


@pytest.mark.parametrize("text", ["a mug #1 seller", "red, #ff0000"])
@pytest.mark.parametrize("form", ["p: {}\n", "- {}\n", "p:\n  q: {}\nr: 1\n"])
def test_a_text_that_a_comment_cuts_is_told_with_the_whole(text: str, form: str) -> None:
    problems, (doubt,) = told(form.format(text))
    assert problems == []
    lost = text[text.index("#") :]
    assert f'`{lost}` is a comment here; if it is text, write `"{text}"`' in doubt


@pytest.mark.parametrize(
    "content",
    [
        "p: a mug # comment\n",
        "p: a mug ## comment\n",
        "p: a mug #\n",
        "#!shebang\np: a\n",
        "#commented: out\np: a\n",
        "p: 20 #fast\n",
        "p: true #yes\n",
        'p: "a #1 mug"\n',
        "p: a#1\n",
        "p: |\n  a\n  #1 mug\n",
        "p: [a, b] #both\n",
        "p: #these\n  q: 1\n",
        "p: [a, # one\n  # two\n  b]\n",
        "- a\n#- b\n- c\n",
    ],
)
def test_an_ordinary_comment_is_none_of_it(content: str) -> None:
    assert told(content) == ([], [])


def test_doubts_come_in_the_order_of_lines() -> None:
    _, doubts = told("a: x #1\nb:\n- y #2\nc: z #3\n")
    assert [doubt.partition(": ")[0] for doubt in doubts] == ["m:1:6", "m:3:5", "m:4:6"]
