"""Tables as people export them are read by their columns; what is wrong is told once, at its true line."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from common.catalog import load_catalog
from common.errors import InvalidDocument
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.model import ShotFields
from common.manifest.parse import ParsedManifest, parse_manifest
from common.shot import PlannedShot
from coordinator.expand import expand

HEAD = "version: 1\ndefaults: {model: shotfarm-demo}\nshots:\n- prompt: 'a {p}'\n"

Put = Callable[[str, "str | bytes"], None]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(name: str, content: str | bytes) -> None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def parsed(folder: Path, axis: str, *more: str, prompt: str = "'a {p}'") -> ParsedManifest:
    lines = ["version: 1", "defaults: {model: shotfarm-demo}", "shots:", f"- prompt: {prompt}", *more]
    text = "\n".join([*lines, f"  axes: {{p: {axis}}}", ""])
    return parse_manifest(text, source="m.yaml", files=FileReader(folder), catalog=load_catalog())


def values(folder: Path, file: str) -> tuple[Any, ...]:
    return parsed(folder, f"{{file: {file}}}", prompt="x").manifest.shots[0].axes["p"].values


def shots(found: ParsedManifest) -> list[PlannedShot]:
    """The shots, after making sure that the manifest that is submitted has the same."""
    here = list(expand(found, load_catalog()))
    again = parse_manifest(inlined(found), source="again", files=None, catalog=load_catalog())
    assert [shot.id for shot in expand(again, load_catalog())] == [shot.id for shot in here]
    return here


def problems(folder: Path, axis: str, *more: str, prompt: str = "'a {p}'") -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parsed(folder, axis, *more, prompt=prompt)
    return [problem.message for problem in caught.value.problems]


def workbook(*rows: list[Any], title: str = "Sheet") -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title
    for row in rows:
        sheet.append(row)
    book.create_sheet("Second").append(["name"])
    book["Second"].append(["other"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "sku,text\nA,mug\n"),
        ("t.csv", "sku;text\r\nA;mug\r\n"),
        ("t.csv", "sku\ttext\rA\tmug\r"),
        ("t.csv", "sku|text\nA|mug\n"),
        ("t.csv", 'sep=;\n"sku";"text"\n"A";"mug"\n'),
        ("t.csv", "\ufeff# from the shop\n\nsku,text,,\n\nA,mug,,\n,,,\n"),
        ("t.tsv", "sku\ttext\nA\tmug\n"),
        ("t.tab", "sku\ttext\nA\tmug\n"),
        ("t.tsv", "sku\ttext\nA\tmug\n".encode("utf-16")),
        ("t.csv", b"\xfe\xff" + "sku;text\nA;mug\n".encode("utf-16-be")),
    ],
)
def test_a_table_of_any_dialect_gives_the_same_rows(
    tmp_path: Path, put: Put, name: str, content: str | bytes
) -> None:
    put(name, content)
    assert values(tmp_path, name) == ({"sku": "A", "text": "mug"},)


def test_a_separator_inside_quotes_of_the_heading_does_not_count(tmp_path: Path, put: Put) -> None:
    put("t.csv", '"a;b;c",text\n1,mug\n')
    assert values(tmp_path, "t.csv") == ({"a;b;c": "1", "text": "mug"},)


def test_lines_behind_a_cell_with_line_breaks_keep_their_numbers(tmp_path: Path, put: Put) -> None:
    put("t.csv", 'name,steps\n"a\nmug",4\nb,many\n')
    (message,) = problems(tmp_path, "{file: t.csv}")
    assert message.startswith("t.csv:4: must be a whole number, not `many`")


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0c"])
def test_only_line_ends_end_a_row(tmp_path: Path, put: Put, mark: str) -> None:
    put("t.csv", f"name,text\na,b{mark}c\n")
    assert len(values(tmp_path, "t.csv")) == 1


@pytest.mark.parametrize("null", ["null", "~", "", "'null'"])
def test_null_in_a_field_is_nothing_and_elsewhere_a_word_that_is_told_of(tmp_path: Path, null: str) -> None:
    text = HEAD + f"  axes: {{p: [{{name: a, steps: 4, look: {null}}}, {{name: b, steps: {null or '~'}}}]}}\n"
    if null == "'null'":
        text = text.replace("steps: 'null'", "steps: 5")
    found = parse_manifest(text, source="m.yaml", files=None, catalog=load_catalog())
    first = found.manifest.shots[0].axes["p"].values[0]
    assert first == {"name": "a", "steps": "4", "look": "null" if null == "'null'" else ""}
    word = f"version: 1\nshots:\n- {{model: shotfarm-demo, prompt: {null or 'x'}}}\n"
    told = parse_manifest(word, source="m.yaml", files=None, catalog=load_catalog()).warnings
    assert len(told) == (null in ("null", "~"))


@pytest.mark.parametrize("null", ["null", "NULL", "", '""', " "])
def test_an_empty_cell_sets_nothing(tmp_path: Path, put: Put, null: str) -> None:
    put("t.csv", f"name,steps\na,{null}\n")
    assert parsed(tmp_path, "{file: t.csv}").manifest.shots[0].axes["p"].sets == ()


def test_a_column_without_a_heading_is_told_where_it_holds_something(tmp_path: Path, put: Put) -> None:
    put("t.csv", "name,\na,\nb,note\n")
    (warning,) = parsed(tmp_path, "{file: t.csv}").warnings
    assert "t.csv:1: column 2 has no heading" in warning.message
    assert "line 3" in warning.message


def test_of_equal_headings_the_second_gets_a_number(tmp_path: Path, put: Put) -> None:
    put("t.csv", "name,text,text\na,one,two\n")
    found = parsed(tmp_path, "{file: t.csv}", prompt="'{p.text} {p[\"text (2)\"]}'")
    assert [shot.shot.prompt for shot in shots(found)] == ["one two"]
    assert "two columns are called `text`" in found.warnings[0].message


def test_a_problem_of_a_column_is_told_once_with_its_first_row_and_their_number(
    tmp_path: Path, put: Put
) -> None:
    put("t.csv", "name,size,model\n" + "".join(f"p{n},XL,X{n}\n" for n in range(300)))
    told = problems(tmp_path, "{file: t.csv}")
    assert len(told) == 2
    assert any("columns: {size: null}" in message and "t.csv:2:" in message for message in told)
    assert any("columns: {model: null}" in message and "rows are like this" in message for message in told)


def test_columns_are_called_otherwise_or_set_nothing(tmp_path: Path, put: Put) -> None:
    put("t.csv", "Variant SKU,size,Steps\nA,XL,four\nB,S,five\n")
    axis = '{file: t.csv, columns: {"Variant SKU": sku, size: null, Steps: null}}'
    found = parsed(tmp_path, axis, prompt='"{p.sku} {p.size} {p.Steps}"')
    assert [shot.shot.prompt for shot in shots(found)] == ["A XL four", "B S five"]


def test_a_column_that_is_not_there_is_told_with_the_one_that_was_meant(tmp_path: Path, put: Put) -> None:
    put("t.csv", "sku,size\nA,96x96\n")
    (message,) = problems(tmp_path, "{file: t.csv, columns: {sizes: null}}", prompt="x")
    assert message == "there is no column `sizes`: did you mean `size`?"


@pytest.mark.parametrize(
    ("heading", "cell", "field", "value"),
    [
        ("negative_prompt", "blurry", "negative", "blurry"),
        ("Negative prompt", "blurry", "negative", "blurry"),
        ("CFG scale", "7", "guidance", 7.0),
        ("cfg_scale", "7.5", "guidance", 7.5),
        ("guidance-scale", "2", "guidance", 2.0),
        ("Num Inference Steps", "20", "steps", 20),
        ("Sampling steps", "20", "steps", 20),
        ("sampler_name", "Euler", "sampler", "euler"),
        ("Scheduler", "DPM++ 2M", "sampler", "dpmpp_2m"),
        ("Seed", "42", "seed", 42),
        ("STEPS", "4", "steps", 4),
    ],
)
def test_a_column_may_be_called_as_other_programs_call_it(
    tmp_path: Path, put: Put, heading: str, cell: str, field: str, value: object
) -> None:
    text = "version: 1\nshots:\n- {model: m, prompt: '{p}', axes: {p: {file: t.csv}}}\n"
    put("t.csv", f'name,"{heading}"\na,{cell}\n')
    found = parse_manifest(text, source="m.yaml", files=FileReader(tmp_path))
    assert found.manifest.shots[0].axes["p"].sets == (ShotFields(**{field: value}),)  # type: ignore[arg-type]
    assert [f"reads `{heading}` as `{field}`" in warning.message for warning in found.warnings] == [True]


def test_width_and_height_together_are_the_size_and_one_of_them_is_text(tmp_path: Path, put: Put) -> None:
    put("t.csv", "name,Width,Height\na,96,128\n")
    (planned,) = shots(parsed(tmp_path, "{file: t.csv}"))
    assert (planned.shot.width, planned.shot.height) == (96, 128)
    put("t.csv", "name,Height\na,180 cm\n")
    found = parsed(tmp_path, "{file: t.csv}")
    assert "`Height` sets nothing without `width`" in found.warnings[0].message
    assert not parsed(tmp_path, "{file: t.csv}", prompt='"{p.Height} tall"').warnings


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("denoising_strength", "only text-to-image"),
        ("Clip skip", "does not have this setting"),
        ("batch_size", "`seeds` of the group"),
        ("promt", "did you mean `prompt`?"),
        ("stepps", "did you mean `steps`?"),
    ],
)
def test_what_looks_like_a_setting_and_is_none_is_told_once_unless_it_is_read(
    tmp_path: Path, put: Put, heading: str, words: str
) -> None:
    put("t.csv", f"name,{heading}\na,1\nb,2\nc,3\n")
    (warning,) = parsed(tmp_path, "{file: t.csv}").warnings
    assert words in warning.message
    assert not parsed(tmp_path, "{file: t.csv}", prompt=f"'{{p[\"{heading}\"]}}'").warnings


def test_fields_of_mapping_values_and_of_include_are_read_alike(tmp_path: Path) -> None:
    found = parsed(
        tmp_path, "[{name: a, negative_prompt: blurry, cfg_scale: 3}]", "  include: [{p: a, Steps: 9}]"
    )
    (planned,) = shots(found)
    assert (planned.shot.negative, planned.shot.guidance, planned.shot.steps) == ("blurry", 3.0, 9)


def test_an_axis_called_as_another_program_calls_a_field_sets_it(tmp_path: Path) -> None:
    text = HEAD.replace("{p}", "cat") + "  axes: {cfg_scale: [3, 5]}\n"
    found = parse_manifest(text, source="m.yaml", files=None, catalog=load_catalog())
    assert [shot.shot.guidance for shot in expand(found, load_catalog())] == [3.0, 5.0]
    assert "`cfg_scale` is read as `guidance`" in found.warnings[0].message


def test_two_fields_for_the_same_are_refused(tmp_path: Path, put: Put) -> None:
    put("t.csv", "name,negative,negative_prompt\na,x,y\n")
    (message,) = problems(tmp_path, "{file: t.csv}")
    assert "sets `negative`, which another field of the same value also sets" in message


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ("seeds: 2", [42, 43, 0, 1, 0, 1]),
        ("seeds: {start: 7, count: 2}", [42, 43, 7, 8, 7, 8]),
        ("seeds: [5, 9]", [42, 43, 5, 9, 5, 9]),
    ],
)
def test_a_row_has_its_own_first_seed(tmp_path: Path, put: Put, seeds: str, expected: list[int]) -> None:
    put("t.csv", "name,seed\na,42\nb,\nc,-1\n")
    found = parsed(tmp_path, "{file: t.csv}", f"  {seeds}")
    assert [shot.shot.seed for shot in shots(found)] == expected
    assert any("leaves the seed to the group" in warning.message for warning in found.warnings)


@pytest.mark.parametrize(
    "cell", ["blueprint@0.8 + other@0.5", "blueprint@0.8, other@0.5", "blueprint@0.8;other@0.5"]
)
def test_a_cell_holds_several_loras(tmp_path: Path, put: Put, cell: str) -> None:
    put("t.csv", f'name,loras\na,"{cell}"\n')
    text = "version: 1\nshots:\n- {model: m, prompt: '{p}', axes: {p: {file: t.csv}}}\n"
    found = parse_manifest(text, source="m.yaml", files=FileReader(tmp_path))
    (fields,) = found.manifest.shots[0].axes["p"].sets
    assert [(lora.name, lora.weight) for lora in fields.loras] == [("blueprint", 0.8), ("other", 0.5)]


@pytest.mark.parametrize(
    ("heading", "reference"),
    [
        ("Größe", "{p.Größe}"),
        ("Gro\u0308ße", "{p.Größe}"),
        ("Größe", "{p.Gro\u0308ße}"),
        ("年龄", "{p.年龄}"),
        ("नाम", "{p.नाम}"),
        ("ชื่อ", "{p.ชื่อ}"),
        ("Название", "{p['Название']}"),
        ("Variant SKU", "{p['Variant SKU']}"),
        ("Google Shopping / MPN", "{p['Google Shopping / MPN']}"),
        ("meta.title", "{p.meta.title}"),
        ("meta.title", "{p['meta.title']}"),
        ("2024", "{p.2024}"),
        ("index", "{p['index']}"),
        ("a{b}|c", "{p['a{b}|c']}"),
    ],
)
def test_a_heading_may_be_anything(tmp_path: Path, put: Put, heading: str, reference: str) -> None:
    put("t.csv", f"name,{heading}\na,mug\n")
    found = parsed(tmp_path, "{file: t.csv}", prompt=f'"a {reference}"')
    assert [shot.shot.prompt for shot in shots(found)] == ["a mug"]


def test_the_position_of_a_value_is_no_column(tmp_path: Path, put: Put) -> None:
    put("t.csv", "name,index\na,seven\n")
    found = parsed(tmp_path, "{file: t.csv}", prompt="'{p.index} {p[\"index\"]}'")
    assert [shot.shot.prompt for shot in shots(found)] == ["0 seven"]


@pytest.mark.parametrize("wrong", ["{p[Variant SKU]}", "{p.Variant SKU}"])
def test_a_heading_without_quotes_is_told_how_it_is_referred_to(tmp_path: Path, put: Put, wrong: str) -> None:
    put("t.csv", "name,Variant SKU\na,mug\n")
    assert '{p["Variant SKU"]}' in problems(tmp_path, "{file: t.csv}", prompt=f"'{wrong}'")[0]


def test_an_axis_may_be_named_in_any_script(tmp_path: Path) -> None:
    text = HEAD.replace("{p}", "{Größe} {цвет} {颜色}") + "  axes: {Größe: [x], цвет: [y], 颜色: [z]}\n"
    found = parse_manifest(text, source="m.yaml", files=None, catalog=load_catalog())
    assert [shot.shot.prompt for shot in expand(found, load_catalog())] == ["a x y z"]


def test_cells_of_a_workbook_read_as_a_person_would_type_them(tmp_path: Path, put: Put) -> None:
    row = ["a", 1024, 7.5, 3.0, datetime(2026, 11, 29), True, None]
    put("t.xlsx", workbook(["name", "n", "f", "whole", "day", "flag", "none"], row, [None] * 7))
    texts = ("a", "1024", "7.5", "3", "2026-11-29", "true", "")
    assert values(tmp_path, "t.xlsx") == (
        dict(zip(("name", "n", "f", "whole", "day", "flag", "none"), texts, strict=True)),
    )


def test_a_sheet_is_picked_by_its_name(tmp_path: Path, put: Put) -> None:
    put("t.xlsx", workbook(["name"], ["first"]))
    assert parsed(tmp_path, "{file: t.xlsx, sheet: Second}").manifest.shots[0].axes["p"].values == (
        {"name": "other"},
    )
    assert problems(tmp_path, "{file: t.xlsx, sheet: Secnd}") == [
        "file `t.xlsx` has no sheet `Secnd`: did you mean `Second`?"
    ]


def test_a_formula_without_its_result_is_refused_with_its_cell(tmp_path: Path, put: Put) -> None:
    put("t.xlsx", workbook(["name", "text"], ["a", "=1+1"]))
    (message,) = problems(tmp_path, "{file: t.xlsx}")
    assert message.startswith("t.xlsx:2: contains a formula without a stored result in cell B2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "is in an old format or has a password"),
        (b"PK\x03\x04" + b"\0" * 100, "is not a workbook"),
        (workbook(["name"], ["a"])[:-200], "is not a workbook"),
    ],
)
def test_what_is_no_workbook_is_told_in_a_sentence(
    tmp_path: Path, put: Put, content: bytes, words: str
) -> None:
    put("t.xlsx", content)
    (message,) = problems(tmp_path, "{file: t.xlsx}")
    assert words in message


def test_lists_inside_json_are_picked_and_mappings_of_mappings_are_named(tmp_path: Path, put: Put) -> None:
    put("p.json", '{"campaign": {"personas": [{"name": "ana"}]}, "n": 1}')
    assert parsed(tmp_path, "{file: p.json, key: campaign.personas}").manifest.shots[0].axes["p"].values == (
        {"name": "ana"},
    )
    assert "did you mean `personas`?" in problems(tmp_path, "{file: p.json, key: campaign.persona}")[0]
    put("q.json", '{"ana": {"look": "red"}, "bo": {"look": "grey", "name": "Bo"}}')
    assert values(tmp_path, "q.json") == ({"name": "ana", "look": "red"}, {"name": "Bo", "look": "grey"})


def test_a_document_a_line_is_a_list_whatever_its_ending(tmp_path: Path, put: Put) -> None:
    for name in ("l.jsonl", "l.ndjson", "l.json"):
        put(name, '{"name": "ana", "hair": ["brown", "wavy"], "age": null}\n\n{"name": "bo"}\n')
        assert values(tmp_path, name) == ({"name": "ana", "hair": "brown, wavy", "age": ""}, {"name": "bo"})


@pytest.mark.parametrize("name", ["p.json", "p.yaml", "p.jsonl"])
def test_fields_inside_a_field_are_read_by_their_path(tmp_path: Path, put: Put, name: str) -> None:
    face = '{"eyes": {"left": "blue"}, "marks": [{"kind": "scar"}, "freckles"]}'
    row = f'{{"name": "bo", "face": {face}, "size": {{"aspect": "1:1"}}}}'
    put(name, row if name == "p.jsonl" else f"[{row}]")
    found = parsed(tmp_path, f"{{file: {name}}}", prompt="'{p}, {p.face.eyes.left}, {p[\"face.marks\"]}'")
    (planned,) = shots(found)
    assert planned.shot.prompt == "bo, blue, kind scar, freckles"
    assert planned.shot.width == planned.shot.height
