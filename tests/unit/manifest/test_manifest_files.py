"""Files are read from the manifest's folder alone, and say at the reference what is wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from common.errors import InvalidDocument, Problem
from common.manifest import files as manifest_files
from common.manifest.files import FileReader, UnusableFileError
from common.manifest.model import Axis, ShotFields, Size
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


def test_a_txt_file_gives_a_value_a_line_without_comments_and_blanks(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text(
        "\ufeffa quay: noon\r\n\r\n# later\n  no  \nnull\n{a|b}", encoding="utf-8"
    )
    assert axis(tmp_path, "s.txt").values == ("a quay: noon", "no", "null", "{a|b}")


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


def test_a_colour_that_reads_as_a_comment_is_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("blue\n#ff5733\n#note\n #FFF\n")
    (warning,) = parse(tmp_path, "{file: s.txt}").warnings
    assert warning.message == (
        "s.txt:2: `#ff5733` is read as a comment; write `\\#ff5733` to keep it (2 times, first here)"
    )


def test_a_csv_file_gives_mappings_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('sku,text,size\nA1,"a mug, blue",512x512\n\n007,,\n', encoding="utf-8")
    found = axis(tmp_path, "p.csv")
    assert found.values == (
        {"sku": "A1", "text": "a mug, blue", "size": "512x512"},
        {"sku": "007", "text": "", "size": ""},
    )
    assert found.sets == (ShotFields(size=Size(width=512, height=512)), ShotFields())


@pytest.mark.parametrize("name", ["v.json", "v.yaml", "v.yml"])
def test_a_json_or_yaml_file_gives_its_list(tmp_path: Path, name: str) -> None:
    values = ["x", {"name": "é 😀", "steps": 4}, "9:16", 1.50]
    (tmp_path / name).write_text(json.dumps(values, ensure_ascii=name == "v.json"), encoding="utf-8")
    found = axis(tmp_path, name)
    assert found.values == ("x", {"name": "é 😀", "steps": "4"}, "9:16", "1.5")
    assert found.sets[1] == ShotFields(steps=4)


def test_files_in_folders_below_the_manifest_are_read(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/s.txt").write_text("a\n")
    assert axis(tmp_path, "lists/s.txt").values == ("a",)


def test_values_of_a_file_expand_where_the_axis_says_so(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("{a|b}\n")
    assert parse(tmp_path, "{file: s.txt, expand: true}").manifest.shots[0].axes["x"].expand


@pytest.mark.parametrize("name", ["../s.txt", "/etc/hostname.txt", "a/../../s.txt"])
def test_a_file_above_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "s.txt").write_text("secret\n")
    found = problem(folder, f"{{file: {name}}}")
    assert found.line == 6
    assert "--root" in found.message


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "s.txt").write_text("secret\n")
    (folder / "s.txt").symlink_to(tmp_path / "s.txt")
    assert "--root" in problem(folder, "{file: s.txt}").message


def test_a_wider_root_allows_files_beside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "s.txt").write_text("shared\n")
    assert parse(folder, "{file: ../s.txt}", tmp_path).manifest.shots[0].axes["x"].values == ("shared",)


def test_without_a_reader_every_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="cannot be read here"):
        parse_manifest(f"{HEAD}{{file: s.txt}}\n", source="m.yaml", files=None)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.txt")
    assert "regular file" in problem(tmp_path, "{file: s.txt}").message


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "s.txt").mkdir()
    assert "regular file" in problem(tmp_path, "{file: s.txt}").message


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "s.txt").open("wb") as file:
        file.truncate(manifest_files.MAX_BYTES + 1)
    assert "larger than 8 MiB" in problem(tmp_path, "{file: s.txt}").message


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


def test_a_wrong_value_names_the_file_and_its_line_at_the_reference(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("sku,steps\nA,4\n\nB,four\n")
    found = problem(tmp_path, "{file: p.csv}")
    assert (found.line, found.column, found.path) == (6, 15, "shots[0].axes.x[1].steps")
    assert found.message == (
        "p.csv:4: must be a whole number, not `four`; the column `steps` sets the image's `steps`: "
        "rename it, or add `columns: {steps: null}` next to `file`"
    )


def test_a_later_finding_in_a_file_names_its_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("# scenes\na quay\na {b\n")
    found = parse(tmp_path, "{file: s.txt}").problem("shots[0].axes.x[1]", "unbalanced", 2)
    assert (found.line, found.message) == (6, "s.txt:3:3: unbalanced")


def wildcards(folder: Path, prompt: str, more: str = "") -> dict[str, tuple[str, ...]]:
    content = f"version: 1\nshots:\n- {{model: m, prompt: '{prompt}'}}\n{more}"
    parsed = parse_manifest(content, source="m.yaml", files=FileReader(folder))
    return parsed.manifest.wildcards


def test_wildcards_in_use_are_read_from_their_folder_with_those_in_their_lines(tmp_path: Path) -> None:
    (tmp_path / "wildcards/people").mkdir(parents=True)
    (tmp_path / "wildcards/people/job.txt").write_text("{old|young} __trade__\n# no\n")
    (tmp_path / "wildcards/trade.txt").write_text("smith\nbaker\n")
    (tmp_path / "wildcards/unused.txt").write_text("x\n")
    assert wildcards(tmp_path, "a __people/job__") == {
        "people/job": ("{old|young} __trade__",),
        "trade": ("smith", "baker"),
    }


def test_wildcards_of_the_manifest_come_before_files(tmp_path: Path) -> None:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards/job.txt").write_text("smith\n")
    (tmp_path / "trades.txt").write_text("baker\n")
    assert wildcards(tmp_path, "__job__", "wildcards: {job: [cook]}\n") == {"job": ("cook",)}
    assert wildcards(tmp_path, "__job__", "wildcards: {job: {file: trades.txt}}\n") == {"job": ("baker",)}


def test_a_wildcard_that_mentions_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards/a.txt").write_text("__b__\n")
    (tmp_path / "wildcards/b.txt").write_text("__a__\n")
    assert wildcards(tmp_path, "__a__") == {"a": ("__b__",), "b": ("__a__",)}


def test_an_unknown_wildcard_in_a_wildcard_names_that_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards/job.txt").write_text("smith\nold __trde__\n")
    (tmp_path / "wildcards/trade.txt").write_text("smith\n")
    with pytest.raises(InvalidDocument) as caught:
        wildcards(tmp_path, "a __job__")
    (found,) = caught.value.problems
    assert found.message == "wildcards/job.txt:2:5: unknown wildcard `__trde__`: did you mean `__trade__`?"
    assert found.line == 3


def test_a_wildcard_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("x\n")
    with pytest.raises(InvalidDocument, match="unknown wildcard"):
        wildcards(folder, "a __../../secret__")
