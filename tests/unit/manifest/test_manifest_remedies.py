"""What people write from habit is understood, or refused once, with what to write instead."""

from __future__ import annotations

import pytest

from common.errors import InvalidDocument
from common.manifest.parse import ParsedManifest, parse_manifest


def parsed(*lines: str) -> ParsedManifest:
    """A manifest of one group that has these lines besides model and prompt."""
    text = "\n".join(["version: 1", "shots:", "- model: sdxl", "  prompt: a cat", *(f"  {x}" for x in lines)])
    return parse_manifest(text, source="m.yaml", files=None)


def refused(*lines: str) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parsed(*lines)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("aspect", ["2:3", "2/3", "2 / 3", "0.6666667"])
def test_an_aspect_may_be_written_as_ratio_fraction_or_number(aspect: str) -> None:
    (group,) = parsed(f"size: {{aspect: {aspect}, megapixels: 1}}").manifest.shots
    assert group.size is not None
    assert group.size.aspect is not None
    width, height = group.size.aspect
    assert width / height == pytest.approx(2 / 3)


@pytest.mark.parametrize("size", ["832X1216", "832 x 1216", "832×1216"])
def test_a_size_may_be_written_with_any_cross(size: str) -> None:
    (group,) = parsed(f"size: {size}").manifest.shots
    (usual,) = parsed("size: 832x1216").manifest.shots
    assert group.size == usual.size


def test_a_broken_axis_is_not_reported_again_by_what_names_it() -> None:
    problems = refused(
        "axes: {colour: [], size: [512x512, 256x256]}",
        "zip: [[colour, size]]",
        "include: [{colour: red}]",
        "exclude: [{colour: blue}]",
    )
    assert len(problems) == 1
    assert "colour" in problems[0]


def test_a_bracket_that_closes_nothing_is_named() -> None:
    with pytest.raises(InvalidDocument, match="this `]` has no opening bracket"):
        parse_manifest("version: 1\nname: a]\nshots: []]\n", source="m.yaml", files=None)


def warned(*lines: str) -> list[str]:
    return [problem.message for problem in parsed(*lines).warnings]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("negative: a mug #1 seller", 'is a comment here; if it is text, write `"a mug #1 seller"`'),
        ("negative: “blurry”", "`“` is U+201C, a left double quotation mark, and is part of the text"),
        ("axes: {frame: [1-10:3]}", "one text here; for a range write `frame: {from: 1, to: 10, step: 3}`"),
        ("axes: {frame: [1..10]}", "one text here; for a range write `frame: {from: 1, to: 10}`"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(line: str, words: str) -> None:
    (warning,) = warned(line)
    assert words in warning


@pytest.mark.parametrize(
    "line",
    [
        "negative: blurry # what nobody wants",
        "negative: “a” and b",
        "negative: it’s",
        "axes: {age: [18-25]}",
        "axes: {age: [18-25, 1..10]}",
        'axes: {frame: ["1..10"]}',
    ],
)
def test_what_may_well_be_meant_is_not_warned_of(line: str) -> None:
    assert warned(line) == []


def test_a_list_is_never_advised_to_be_put_in_quotes() -> None:
    with pytest.raises(InvalidDocument) as caught:
        parsed("axes: {a: [[x, {b: c}]]}")
    assert "quotes" not in str(caught.value)
