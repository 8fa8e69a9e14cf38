"""Tables as people export them are read by their columns; what is wrong is told once, at its true line."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
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


MUG = ({"sku": "A", "text": "mug"},)
CELLS = ["a", 1024, 7.5, 3.0, datetime(2026, 11, 29), True, None]
HEADINGS = ("name", "n", "f", "whole", "day", "flag", "none")
PERSONAS = '{"name": "ana", "hair": ["brown", "wavy"], "age": null}\n\n{"name": "bo"}\n'
#: Name and content of a file, and the values that it gives.
READ: list[tuple[str, str | bytes, object]] = [
    ("t.csv", "sku,text\nA,mug\n", MUG),
    ("t.csv", "sku;text\r\nA;mug\r\n", MUG),
    ("t.csv", "sku\ttext\rA\tmug\r", MUG),
    ("t.csv", "sku|text\nA|mug\n", MUG),
    ("t.csv", 'sep=;\n"sku";"text"\n"A";"mug"\n', MUG),
    ("t.csv", "\ufeff# from the shop\n\nsku,text,,\n\nA,mug,,\n,,,\n", MUG),
    ("t.tsv", "sku\ttext\nA\tmug\n", MUG),
    ("t.tab", "sku\ttext\nA\tmug\n", MUG),
    ("t.tsv", "sku\ttext\nA\tmug\n".encode("utf-16"), MUG),
    ("t.csv", b"\xfe\xff" + "sku;text\nA;mug\n".encode("utf-16-be"), MUG),
    # A separator inside quotes does not count.
    ("t.csv", '"a;b;c",text\n1,mug\n', ({"a;b;c": "1", "text": "mug"},)),
    # Only line ends end a row.
    *(
        ("t.csv", f"name,text\na,b{mark}c\n", ({"name": "a", "text": f"b{mark}c"},))
        for mark in ("\u2028", "\u2029", "\x85", "\x0c")
    ),
    # Cells of a workbook read as a person would type them.
    (
        "t.xlsx",
        workbook(list(HEADINGS), CELLS, [None] * 7),
        (dict(zip(HEADINGS, ("a", "1024", "7.5", "3", "2026-11-29", "true", ""), strict=True)),),
    ),
    (
        "q.json",
        '{"ana": {"look": "red"}, "bo": {"look": "grey", "name": "Bo"}}',
        ({"name": "ana", "look": "red"}, {"name": "Bo", "look": "grey"}),
    ),
    # A document a line.
    *(
        (name, PERSONAS, ({"name": "ana", "hair": "brown, wavy", "age": ""}, {"name": "bo"}))
        for name in ("l.jsonl", "l.ndjson", "l.json")
    ),
]


def _ids(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Without the bytes of workbooks, in which the time stands."""
    return [f"{row[0]}-{number}" for number, row in enumerate(rows)]


@pytest.mark.parametrize(("name", "content", "expected"), READ, ids=_ids(READ))
def test_a_file_of_any_dialect_gives_its_rows(
    tmp_path: Path, put: Put, name: str, content: str | bytes, expected: object
) -> None:
    put(name, content)
    assert values(tmp_path, name) == expected


FACE = '{"eyes": {"left": "blue"}, "marks": [{"kind": "scar"}, "freckles"]}'
NESTED = f'{{"name": "bo", "face": {FACE}, "size": {{"aspect": "1:1"}}}}'
FACED = "'{p}, {p.face.eyes.left}, {p[\"face.marks\"]}'"
#: Name and content of a file, more keys of the axis, a prompt, and the prompts of the shots.
REFERRED: list[tuple[str, str | bytes, str, str, list[str]]] = [
    *(
        ("t.csv", f"name,{heading}\na,mug\n", "", f'"a {reference}"', ["a mug"])
        for heading, reference in (
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
        )
    ),
    # The position of a value is no column.
    ("t.csv", "name,index\na,seven\n", "", "'{p.index} {p[\"index\"]}'", ["0 seven"]),
    # Of equal headings the second gets a number.
    ("t.csv", "name,text,text\na,one,two\n", "", "'{p.text} {p[\"text (2)\"]}'", ["one two"]),
    # Columns are called otherwise, or set nothing.
    (
        "t.csv",
        "Variant SKU,size,Steps\nA,XL,four\nB,S,five\n",
        ', columns: {"Variant SKU": sku, size: null, Steps: null}',
        '"{p.sku} {p.size} {p.Steps}"',
        ["A XL four", "B S five"],
    ),
    ("t.xlsx", workbook(["name"], ["first"]), ", sheet: Second", "'{p}'", ["other"]),
    (
        "p.json",
        '{"campaign": {"personas": [{"name": "ana"}]}, "n": 1}',
        ", key: campaign.personas",
        "'{p}'",
        ["ana"],
    ),
    *(
        (name, content, "", FACED, ["bo, blue, kind scar, freckles"])
        for name, content in (("p.json", f"[{NESTED}]"), ("p.yaml", f"[{NESTED}]"), ("p.jsonl", NESTED))
    ),
]


@pytest.mark.parametrize(("name", "content", "more", "prompt", "expected"), REFERRED, ids=_ids(REFERRED))
def test_whatever_a_row_holds_can_be_referred_to(
    tmp_path: Path, put: Put, name: str, content: str | bytes, more: str, prompt: str, expected: list[str]
) -> None:
    put(name, content)
    found = shots(parsed(tmp_path, f"{{file: {name}{more}}}", prompt=prompt))
    assert [planned.shot.prompt for planned in found] == expected
    assert "aspect" not in str(content) or found[0].shot.width == found[0].shot.height


#: Name and content of a file, more keys of the axis, a prompt, and what the problem or warning names.
TOLD: list[tuple[str, str | bytes, str, str, list[str]]] = [
    # Lines behind a cell with line breaks keep their numbers.
    ("t.csv", 'name,steps\n"a\nmug",4\nb,many\n', "", "x", ["t.csv:4: ", "`many`"]),
    ("t.csv", "name,\na,\nb,note\n", "", "'{p}'", ["t.csv:1: column 2 has no heading", "line 3"]),
    ("t.csv", "name,text,text\na,one,two\n", "", "'{p.text}'", ["two columns are called `text`"]),
    ("t.csv", "sku,size\nA,96x96\n", ", columns: {sizes: null}", "x", ["`sizes`: did you mean `size`?"]),
    (
        "t.csv",
        "name,negative,negative_prompt\na,x,y\n",
        "",
        "'{p}'",
        ["sets `negative`, which another field"],
    ),
    ("t.csv", "name,Variant SKU\na,mug\n", "", "'{p[Variant SKU]}'", ['{p["Variant SKU"]}']),
    ("t.csv", "name,Variant SKU\na,mug\n", "", "'{p.Variant SKU}'", ['{p["Variant SKU"]}']),
    (
        "p.json",
        '{"campaign": {"personas": [{}]}}',
        ", key: campaign.persona",
        "'{p}'",
        ["did you mean `personas`?"],
    ),
    ("t.xlsx", workbook(["name"], ["a"]), ", sheet: Secnd", "'{p}'", ["`Secnd`: did you mean `Second`?"]),
    ("t.xlsx", workbook(["name", "text"], ["a", "=1+1"]), "", "'{p}'", ["t.xlsx:2: ", "formula", "cell B2"]),
    (
        "t.xlsx",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100,
        "",
        "'{p}'",
        ["an old format or has a password"],
    ),
    ("t.xlsx", b"PK\x03\x04" + b"\0" * 100, "", "'{p}'", ["is not a workbook"]),
    ("t.xlsx", workbook(["name"], ["a"])[:-200], "", "'{p}'", ["is not a workbook"]),
]


@pytest.mark.parametrize(("name", "content", "more", "prompt", "words"), TOLD, ids=_ids(TOLD))
def test_what_is_wrong_with_a_table_is_told_first_at_its_place(
    tmp_path: Path, put: Put, name: str, content: str | bytes, more: str, prompt: str, words: list[str]
) -> None:
    put(name, content)
    try:
        found = parsed(tmp_path, f"{{file: {name}{more}}}", prompt=prompt).warnings
    except InvalidDocument as error:
        found = error.problems
    assert [word for word in words if word not in found[0].message] == []


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


def test_a_problem_of_a_column_is_told_once_with_its_first_row_and_their_number(
    tmp_path: Path, put: Put
) -> None:
    put("t.csv", "name,size,model\n" + "".join(f"p{n},XL,X{n}\n" for n in range(300)))
    told = problems(tmp_path, "{file: t.csv}")
    assert len(told) == 2
    assert any("columns: {size: null}" in message and "t.csv:2:" in message for message in told)
    assert any("columns: {model: null}" in message and "rows are like this" in message for message in told)


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
        ("Hires upscaler", "does not have this setting"),
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


def test_an_axis_may_be_named_in_any_script(tmp_path: Path) -> None:
    text = HEAD.replace("{p}", "{Größe} {цвет} {颜色}") + "  axes: {Größe: [x], цвет: [y], 颜色: [z]}\n"
    found = parse_manifest(text, source="m.yaml", files=None, catalog=load_catalog())
    assert [shot.shot.prompt for shot in expand(found, load_catalog())] == ["a x y z"]
