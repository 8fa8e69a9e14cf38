"""Files are read from the manifest's folder alone, and say at the reference what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import InvalidDocument, Problem
from common.manifest import files as manifest_files
from common.manifest.files import FileReader, UnusableFileError
from common.manifest.model import NOTHING, Axis, ShotFields, Size
from common.manifest.parse import ParsedManifest, parse_manifest

HEAD = "version: 1\nshots:\n- model: m\n  prompt: '{x}'\n  axes:\n    x: "


def parse(folder: Path, axis: str, root: Path | None = None) -> ParsedManifest:
    return parse_manifest(f"{HEAD}{axis}\n", source="m.yaml", files=FileReader(folder, root))


def axis(folder: Path, name: str) -> Axis:
    return parse(folder, f"{{file: {name}}}").manifest.shots[0].axes["x"]


def problem(folder: Path, axis_text: str) -> Problem:
    with pytest.raises(InvalidDocument) as caught:
        parse(folder, axis_text)
    (found,) = caught.value.problems
    return found


_MIXED = ["x", {"name": "é 😀", "steps": 4}, "9:16", 1.50]
_READ = ("x", {"name": "é 😀", "steps": "4"}, "9:16", "1.5")
_STEPS = (NOTHING, ShotFields(steps=4), NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("name", "content", "values", "sets"),
    [
        (
            "lists/s.txt",
            "\ufeffa quay: noon\r\n\r\n# later\n  no  \nnull\n{a|b}",
            ("a quay: noon", "no", "null", "{a|b}"),
            (),
        ),
        (
            "p.csv",
            'sku,text,size\nA1,"a mug, blue",512x512\n\n007,,\n',
            ({"sku": "A1", "text": "a mug, blue", "size": "512x512"}, {"sku": "007", "text": "", "size": ""}),
            (ShotFields(size=Size(width=512, height=512)), NOTHING),
        ),
        ("v.json", json.dumps(_MIXED), _READ, _STEPS),
        ("v.yaml", json.dumps(_MIXED, ensure_ascii=False), _READ, _STEPS),
        ("v.yml", json.dumps(_MIXED, ensure_ascii=False), _READ, _STEPS),
    ],
)
def test_a_file_gives_the_values_of_its_axis(
    tmp_path: Path, name: str, content: str, values: object, sets: object
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    found = axis(tmp_path, name)
    assert (found.values, found.sets) == (values, sets)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Tri-X 320   # Lower contrast", "Tri-X 320"),
        ("red #", "red"),
        ("red #1 of 3", "red #1 of 3"),
        ("red#", "red#"),
        (r"\#ff5733", "#ff5733"),
        (r"a \# b # c", "a # b"),
        ("http://x // y", "http://x // y"),
        (
            "a lamp\u2028with\u2029a\x85shade\x0cof\x0bglass\x1c",
            "a lamp\u2028with\u2029a\x85shade\x0cof\x0bglass",
        ),
    ],
)
def test_a_hash_between_blanks_begins_a_comment_and_no_other_character_ends_a_line(
    tmp_path: Path, line: str, value: str
) -> None:
    (tmp_path / "s.txt").write_bytes(f"{line}\r# no\r\n #no\nlast".encode())
    assert axis(tmp_path, "s.txt").values == (value, "last")


def _too_large(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(manifest_files.MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("name", "made", "words"),
    [
        ("../s.txt", None, "--root"),
        ("/etc/hostname.txt", None, "--root"),
        ("a/../../s.txt", None, "--root"),
        ("s.txt", lambda file: file.symlink_to("../s.txt"), "--root"),
        # Nobody waits for what stands at the other end of a pipe.
        ("s.txt", os.mkfifo, "regular file"),
        ("s.txt", Path.mkdir, "regular file"),
        ("s.txt", _too_large, "larger than 8 MiB"),
    ],
)
def test_what_is_no_file_of_the_folder_is_refused_at_its_reference(
    tmp_path: Path, name: str, made: Callable[[Path], None] | None, words: str
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "s.txt").write_text("secret\n")
    if made:
        made(tmp_path / "inner" / name)
    found = problem(tmp_path / "inner", f"{{file: {name}}}")
    assert (found.line, words in found.message) == (6, True)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (f"{HEAD}{{file: s.txt}}\n", "m.yaml:6:15: shots[0].axes.x: "),
        ("version: 1\nextends: s.yaml\nshots: [{prompt: p}]\n", "m.yaml:2:10: extends: "),
        (
            "version: 1\npresets: {file: s.yaml}\nshots: [{model: m, prompt: p}]\n",
            "m.yaml:2:17: presets.file: ",
        ),
    ],
)
def test_where_no_files_are_read_each_reference_is_refused_with_what_sends_it(
    content: str, place: str
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_manifest(content, source="m.yaml", files=None)
    assert str(caught.value).startswith(place)
    assert "cannot be read here; use `farm submit`" in str(caught.value)


def test_a_wider_root_allows_files_beside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "s.txt").write_text("shared\n")
    assert parse(folder, "{file: ../s.txt}", tmp_path).manifest.shots[0].axes["x"].values == ("shared",)


@pytest.mark.parametrize("name", ["a\0b.txt", "x" * 5000 + ".txt"])
def test_an_impossible_name_is_explained(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableFileError):
        FileReader(tmp_path).read(name)


#: What files hold that are no list, by name, and part of the message.
NO_LISTS = {
    "e.txt": [
        ("\n \n", "no values"),
        ("# nothing\n#ff0000\n", "only comments"),
    ],
    "e.csv": [
        ("", "column names"),
        ("sku,text\n", "no values"),
        ('sku,text\n\nA,"b\n', "e.csv:3: is not CSV: a quote that opens here is never closed"),
        ("sku,text\nA\n", "e.csv:2: has 1 cells here and 2 columns"),
        (
            "sku,text\nA,b,c\n",
            "e.csv:2: has 3 cells here and 2 columns; put a cell that holds `,` in double quotes",
        ),
        ("sku\n\0\n", "e.csv:2: contains a NUL character"),
    ],
    "e.xlsx": [
        ("sku,text", "is not a workbook"),
        ("PK\x03\x04broken", "is not a workbook"),
    ],
    "e.json": [
        ("{}", "must contain a list"),
        ('["a"', "e.json:1: is not valid JSON: expected `,` or `]`"),
        ('[\n"a",\n]', "e.json:2: is not valid JSON: there is an extra `,` before `]`"),
        ('[{"a": NaN}]', "write a number, or null"),
        ("['a']", "write strings in double quotes"),
        ('[{"a": 1, "a": 2}]', "e.json:1: item 1, `a` is given twice"),
        ('["a",\n{"b": "\\udc00"}]', "e.json:2: item 2, `b` contains an unpaired surrogate"),
        ("[" * 200_000, "nested deeper than"),
    ],
    "e.jsonl": [
        ('{"a": 1}\n{"a": }\n', "e.jsonl:2: is not valid JSON: expected a value"),
    ],
    "e.yaml": [
        ("a: 1\n", "must contain a list"),
        ("- a\n- @b\n", "e.yaml:2: a value that starts with `@`"),
    ],
    "e.doc": [
        ("a", "use one of .txt"),
    ],
}


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [(name, *case) for name, cases in NO_LISTS.items() for case in cases],
)
def test_a_file_that_holds_no_list_is_explained(
    tmp_path: Path, name: str, content: str, fragment: str
) -> None:
    (tmp_path / name).write_text(content)
    assert fragment in problem(tmp_path, f"{{file: {name}}}").message


def test_a_later_finding_in_a_file_names_its_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("# scenes\na quay\na {b\n")
    found = parse(tmp_path, "{file: s.txt}").problem("shots[0].axes.x[1]", "unbalanced", 2)
    assert (found.line, found.message) == (6, "s.txt:3:3: unbalanced")
