"""`lists`: values that any axis takes by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.model import ShotFields
from common.manifest.parse import ParsedManifest, parse_manifest


def parse(folder: Path, lists: str, *axes: str) -> ParsedManifest:
    groups = "\n".join(f"- {{model: m, prompt: p, axes: {{{each}}}}}" for each in axes)
    content = f"version: 1\nlists: {lists}\nshots:\n{groups}\n"
    return parse_manifest(content, source="m.yaml", files=FileReader(folder))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("[a, b]", ("a", "b")),
        ("[{name: a, look: b}]", ({"name": "a", "look": "b"},)),
        ("{from: 1, to: 3}", ("1", "2", "3")),
        ("{values: [a], expand: true}", ("a",)),
        ("{file: f.txt}", ("f",)),
        ("{file: p.csv, columns: {Variant SKU: sku}}", ({"sku": "A1"},)),
    ],
)
def test_a_list_has_any_form_of_an_axis_and_serves_any_group(
    values: str, expected: object, tmp_path: Path
) -> None:
    (tmp_path / "f.txt").write_text("f\n")
    (tmp_path / "p.csv").write_text("Variant SKU\nA1\n")
    parsed = parse(tmp_path, f"{{one: {values}}}", "x: {list: one}", "x: {list: one}, y: {list: one}")
    first, second = parsed.manifest.shots
    assert first.axes["x"].values == second.axes["x"].values == second.axes["y"].values == expected
    assert first.axes["x"].expand == ("expand" in values)
    assert parse_manifest(inlined(parsed), source="again", files=None).manifest == parsed.manifest


@pytest.mark.parametrize("values", ["[a]", "{file: f.txt}", "{values: [a]}"])
def test_an_axis_may_expand_a_list(values: str, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("f\n")
    plain, expanding = parse(
        tmp_path, f"{{one: {values}}}", "x: {list: one}", "x: {list: one, expand: true}"
    ).manifest.shots
    assert (plain.axes["x"].expand, expanding.axes["x"].expand) == (False, True)


def test_a_list_sets_fields_where_the_axis_does(tmp_path: Path) -> None:
    (group,) = parse(tmp_path, "{one: [4, 8]}", "steps: {list: one}").manifest.shots
    assert group.axes["steps"].sets == (ShotFields(steps=4), ShotFields(steps=8))


def test_a_list_that_nothing_names_is_no_concern(tmp_path: Path) -> None:
    assert parse(tmp_path, "{one: {file: nowhere.txt}}", "x: [a]").warnings == ()
