"""Wildcards in files beside the manifest: folders, packs, links, and what is said where one is not found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.parse import ParsedManifest, parse_manifest


class Folder:
    """A manifest with one prompt and the files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, content: str) -> None:
        file = self.path / "wildcards" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")

    def parsed(self, prompt: str, more: str = "") -> ParsedManifest:
        content = f"version: 1\nshots:\n- {{model: m, prompt: {json.dumps(prompt)}}}\n{more}"
        return parse_manifest(content, source="m.yaml", files=FileReader(self.path))

    def wildcards(self, prompt: str, more: str = "") -> dict[str, tuple[str, ...]]:
        """Those in use, after checking that the manifest means the same as it is sent."""
        parsed = self.parsed(prompt, more)
        again = parse_manifest(inlined(parsed), source="sent", files=None)
        assert again.manifest == parsed.manifest
        return parsed.manifest.wildcards

    def problem(self, prompt: str, more: str = "") -> Problem:
        with pytest.raises(InvalidDocument) as caught:
            self.parsed(prompt, more)
        (problem,) = caught.value.problems
        return problem


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("file", "mention", "name"),
    [
        ("hair color.txt", "__hair color__", "hair color"),
        ("European Art/painters.txt", "__European Art/painters__", "European Art/painters"),
        ("nested/test.txt", r"__nested\test__", "nested/test"),
        ("颜色.txt", "__颜色__", "颜色"),
        ("Größe.TXT", "__größe__", "Größe"),
        ("a.b-c_1.txt", "__a.b-c_1__", "a.b-c_1"),
        ("a.b-c_1.txt", "__A.B-C_1.txt__", "a.b-c_1"),
        ("people/x, y {z}.txt", "__people/*__", "people/x, y {z}"),
    ],
)
def test_files_of_any_name_are_found(folder: Folder, file: str, mention: str, name: str) -> None:
    folder.put(file, "one\n2::two\n")
    assert folder.wildcards(f"a {mention} mug") == {name: ("one", "2::two")}


PACK = """
animals:
  birds: [wren, a big __cats__]
  cats:
  - lion
  - 3::lynx
  - __plants__
plants: |
  oak

  elm
"""


@pytest.mark.parametrize(
    ("mention", "names"),
    [
        ("__pack/animals/cats__", ["animals/cats", "plants"]),
        ("__animals/cats__", ["animals/cats", "plants"]),
        ("__animals/birds__", ["animals/birds", "animals/cats", "plants"]),
        ("__animals__", ["animals/birds", "animals/cats", "plants"]),
        ("__pack.yaml__", ["animals/birds", "animals/cats", "plants"]),
        ("__pack/plants__", ["plants"]),
    ],
)
def test_packs_are_read_by_their_keys_and_name_their_own_lists(
    folder: Folder, mention: str, names: list[str]
) -> None:
    folder.put("pack.yaml", PACK)
    found = folder.wildcards(f"a {mention}")
    assert sorted(found) == [f"pack.yaml/{name}" for name in names]
    assert found["pack.yaml/plants"] == ("oak", "elm")


def test_a_pack_may_be_json_or_a_single_list(folder: Folder) -> None:
    folder.put("deep/p.json", '{"a b": {"c": ["x"]}}')
    folder.put("list.yml", "- y\n- 7\n")
    assert folder.wildcards("__deep/p/a b/c__ __list__") == {
        "deep/p.json/a b/c": ("x",),
        "list.yml": ("y", "7"),
    }


def test_a_line_names_its_neighbour_before_the_file_of_that_name_further_out(folder: Folder) -> None:
    folder.put("jumbo/creatures/adnd.txt", "a __beasts__, a __rocks__\n")
    folder.put("jumbo/creatures/beasts.txt", "wyvern\n")
    folder.put("jumbo/rocks.txt", "flint\n")
    folder.put("beasts.txt", "cow\n")
    assert folder.wildcards("__jumbo/creatures/adnd__").keys() == {
        "jumbo/creatures/adnd",
        "jumbo/creatures/beasts",
        "jumbo/rocks",
    }


def test_a_pattern_takes_the_lines_of_all_files_and_lists_that_fit(folder: Folder) -> None:
    folder.put("people/b.txt", "b\n")
    folder.put("people/a.yaml", "- a\n")
    folder.put("people/sub/c.txt", "c\n")
    more = "wildcards: {people/own: [o]}\n"
    assert list(folder.wildcards("__people/*__", more)) == ["people/own", "people/a.yaml", "people/b"]
    assert "people/sub/c" in folder.wildcards("__people/**__", more)


def test_wildcards_of_the_manifest_may_have_such_names_too(folder: Folder) -> None:
    more = "wildcards: {hair color: [red], 'a\\b': [x], 颜色: [红]}\n"
    assert folder.wildcards("__hair color__ __a/b__ __颜色__", more) == {
        "hair color": ("red",),
        "a/b": ("x",),
        "颜色": ("红",),
    }


def test_a_name_that_no_prompt_can_mention_is_warned_of(folder: Folder) -> None:
    (warning,) = folder.parsed("a", "wildcards: {'a,b': [x], c: [y]}\n").warnings
    assert "no prompt can refer to `__a,b__`" in warning.message
    assert (warning.line, warning.column) == (4, 13)


def test_linked_folders_are_looked_through_and_a_circle_of_links_ends(folder: Folder) -> None:
    folder.put("real/w.txt", "x\n")
    (folder.path / "wildcards/link").symlink_to(folder.path / "wildcards/real")
    (folder.path / "wildcards/real/up").symlink_to(folder.path / "wildcards")
    assert list(folder.wildcards("__real/w__")) == ["real/w"]


@pytest.mark.parametrize(
    ("mention", "message"),
    [
        ("__jbo__", "unknown wildcard `__jbo__`: did you mean `__job__`?"),
        (
            "__gone/far__",
            "unknown wildcard `__gone/far__`; there is no `wildcards/gone/far.txt` in the folder of "
            "the manifest",
        ),
        ("__people__", "`__people__` is a folder of wildcards; write `__people/*__` for all of them"),
        ("__gone/*__", "no wildcard matches `__gone/*__`"),
    ],
)
def test_a_wildcard_that_nothing_gives_is_told_once(folder: Folder, mention: str, message: str) -> None:
    folder.put("job.txt", f"smith\n{mention}\n{mention} {mention}\n")
    folder.put("people/a.txt", "x\n")
    assert folder.problem(f"{mention} {mention}, __job__").message == message


def test_a_broken_pack_is_told_where_a_wildcard_is_not_found(folder: Folder) -> None:
    folder.put("pack.yaml", "a: [x\n")
    folder.put("job.txt", "smith\n")
    assert folder.wildcards("__job__") == {"job": ("smith",)}
    message = folder.problem("__pack/a__").message
    assert message.startswith(
        "unknown wildcard `__pack/a__`; `wildcards/pack.yaml` cannot be read on line 2: "
    )


def test_a_wrong_list_in_a_pack_is_named_with_the_pack(folder: Folder) -> None:
    folder.put("pack.yaml", "a:\n- x\n- {y: z}\n- '{q'\n")
    with pytest.raises(InvalidDocument) as caught:
        folder.parsed("__pack/a__")
    assert [problem.message.partition(": ")[0] for problem in caught.value.problems] == [
        "wildcards/pack.yaml:3",
        "wildcards/pack.yaml:4:1",
    ]
