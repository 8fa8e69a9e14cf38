"""What people write from habit is understood, or refused once, with what to write instead."""

from __future__ import annotations

import pytest

from common.manifest.parse import ParsedManifest, parse_manifest


def parsed(*lines: str) -> ParsedManifest:
    """A manifest of one group that has these lines besides model and prompt."""
    text = "\n".join(["version: 1", "shots:", "- model: sdxl", "  prompt: a cat", *(f"  {x}" for x in lines)])
    return parse_manifest(text, source="m.yaml", files=None)


@pytest.mark.parametrize("aspect", ["2:3", "2/3", "2 / 3", "0.6666667"])
def test_an_aspect_may_be_written_as_ratio_fraction_or_number(aspect: str) -> None:
    (group,) = parsed(f"size: {{aspect: {aspect}, megapixels: 1}}").manifest.shots
    assert group.size is not None
    assert group.size.aspect is not None
    width, height = group.size.aspect
    assert width / height == pytest.approx(2 / 3)


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
