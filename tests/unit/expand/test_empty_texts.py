"""Empty cells are warned of with their rows; empty prompts are errors unless they are allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InvalidDocument
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from coordinator.expand import expand
from coordinator.expand.group import GroupExpansion
from tests.unit.expand.making import catalog, group, prompts, refused, warned


@pytest.mark.parametrize(
    ("rows", "prompt", "wanted"),
    [
        # Once for each reference, with their lines.
        (
            "Title,Type,n\nMug,cup,1\n,cup,2\n , ,3\nPot,pot,4\n",
            "'{p.Title}, product photo, {p.Type}'",
            [
                "p.csv:3: {p.Title} is empty in 2 of 4 values (lines 3 and 4)",
                "p.csv:4: {p.Type} is empty in 1 of 4 values (line 4)",
            ],
        ),
        ("a,b\n,x\n", "'photo of {p.a} on {p.b}'", ["p.csv:2: {p.a} is empty in 1 of 1 values (line 2)"]),
        # A cell that no prompt reads.
        ("a,b\n,x\n", "'{p.b}'", []),
        # The prompt itself is an error.
        (
            'sku,prompt\na,a mug\nb,\nc," , "\n',
            "",
            ["p.csv:3: the prompt is empty for 2 of 3 combinations (lines 3 and 4); "],
        ),
        (
            "a,b,c\nx,y,1\n,,2\n",
            "'{p.a}, {p.b}'",
            ["p.csv:3: the prompt is empty for 1 of 2 combinations (line 3); "],
        ),
    ],
)
def test_an_empty_cell_that_a_prompt_reads_is_told_with_its_lines(
    rows: str, prompt: str, wanted: list[str], tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text(rows)
    content = group("axes: {p: {file: p.csv}}", prompt=prompt)
    try:
        found = expand(
            parse_manifest(content, source="m.yaml", files=FileReader(tmp_path)), catalog()
        ).warnings
    except InvalidDocument as error:
        found = error.problems
    assert [told.message[: len(want)] for told, want in zip(found, wanted, strict=True)] == wanted


@pytest.mark.parametrize(
    ("prompt", "gap"),
    [
        ("a cat, {mood}", True),
        ("{mood}, a cat", True),
        ("a, {mood}, cat", True),
        ("a cat {mood}", False),
        ("a {mood} cat", False),
        ("a cat{mood}, b", False),
        ("a cat, {{mood}|calm}", False),
    ],
)
def test_a_text_that_is_spelled_empty_is_warned_of_where_it_leaves_a_gap(prompt: str, gap: bool) -> None:
    found = warned(group("axes: {mood: [glad, '', sad]}", prompt=f"'{prompt}'"))
    expected = (
        "m.yaml:6:23: shots[0].axes.mood[1]: {mood} is empty in 1 of 3 values (value 2), which leaves a gap"
    )
    assert found == ([expected] if gap else [])


@pytest.mark.parametrize(
    ("lines", "prompt", "top"),
    [
        (("seeds: 40",), "'{a|}'", ""),
        (("seeds: 40",), "__w__", "wildcards: {w: [a, ' {,|b}']}"),
        (("axes: {x: {values: ['{a|}'], expand: true}}", "seeds: 40"), "'{x}'", ""),
        (("variants: combinatorial",), "'{0-2$$a|b}'", ""),
        ((), "' , '", ""),
        ((), "'{trigger}'", ""),
    ],
)
def test_a_prompt_that_some_shot_has_empty_is_refused_unless_it_is_allowed(
    lines: tuple[str, ...], prompt: str, top: str
) -> None:
    (problem,) = refused(group(*lines, prompt=prompt, top=top))
    assert "the prompt is empty for 1 of 1 combinations" in problem
    assert any(
        not text.strip(" ,") for text in prompts(group(*lines, "allow_empty: true", prompt=prompt, top=top))
    )
    top = f"{top}\ndefaults: {{allow_empty: true}}"
    assert prompts(group(*lines, prompt=prompt, top=top))


def test_no_shot_is_looked_at_where_no_prompt_can_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(GroupExpansion, "without_prompt", fail)
    written = group("axes: {a: ['', x], b: {values: ['{y|}'], expand: true}}", prompt="'a {a}{b}'")
    assert len(prompts(written)) == 2
