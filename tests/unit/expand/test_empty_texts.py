"""Empty cells are warned of with their rows; empty prompts are errors unless they are allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from coordinator.expand import Expansion, expand
from coordinator.expand.group import GroupExpansion
from tests.unit.expand.making import catalog, group, prompts, refused, warned


class Table:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def expanded(self, rows: str, *lines: str, prompt: str) -> Expansion:
        (self.folder / "p.csv").write_text(rows)
        content = group("axes: {p: {file: p.csv}}", *lines, prompt=prompt)
        files = FileReader(self.folder)
        return expand(parse_manifest(content, source="m.yaml", files=files), catalog())

    def problem(self, rows: str, *lines: str, prompt: str) -> Problem:
        with pytest.raises(InvalidDocument) as caught:
            self.expanded(rows, *lines, prompt=prompt)
        (problem,) = caught.value.problems
        return problem


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_empty_cells_are_warned_of_once_for_each_reference_with_their_lines(table: Table) -> None:
    rows = "Title,Type,n\nMug,cup,1\n,cup,2\n , ,3\nPot,pot,4\n"
    found = table.expanded(rows, prompt="'{p.Title}, product photo, {p.Type}'")
    assert [warning.message for warning in found.warnings] == [
        "p.csv:3: {p.Title} is empty in 2 of 4 values (lines 3 and 4), which leaves a gap",
        "p.csv:4: {p.Type} is empty in 1 of 4 values (line 4), which leaves a gap",
    ]


def test_an_empty_cell_in_the_midst_of_a_text_is_warned_of_too(table: Table) -> None:
    (warning,) = table.expanded("a,b\n,x\n", prompt="'photo of {p.a} on {p.b}'").warnings
    assert "{p.a} is empty in 1 of 1 values (line 2)" in warning.message


def test_an_empty_cell_that_no_prompt_reads_is_not_told(table: Table) -> None:
    assert table.expanded("a,b\n,x\n", prompt="'{p.b}'").warnings == ()


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


def test_a_row_without_a_prompt_is_refused_with_its_line(table: Table) -> None:
    problem = table.problem('sku,prompt\na,a mug\nb,\nc," , "\n', prompt="")
    assert problem.message == (
        "p.csv:3: the prompt is empty for 2 of 3 combinations (lines 3 and 4); "
        "fill it in, or write `allow_empty: true` in the group"
    )


def test_a_row_whose_text_is_all_of_the_prompt_is_refused(table: Table) -> None:
    assert "(line 3)" in table.problem("a,b,c\nx,y,1\n,,2\n", prompt="'{p.a}, {p.b}'").message


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


def test_trigger_words_are_a_prompt() -> None:
    assert prompts(group("loras: [ana]", prompt="'{trigger}'")) == ["ana woman"]


def test_a_draw_that_no_shot_has_empty_is_no_error() -> None:
    assert prompts(group("seeds: [0]", prompt="'{1000::a|}'")) == ["a"]


def test_no_shot_is_looked_at_where_no_prompt_can_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(GroupExpansion, "without_prompt", fail)
    written = group("axes: {a: ['', x], b: {values: ['{y|}'], expand: true}}", prompt="'a {a}{b}'")
    assert len(prompts(written)) == 2
