"""Wildcards in files beside the manifest: folders, packs, links, and what is said where one is not found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import InvalidDocument
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.parse import ParsedManifest, parse_manifest

Lists = dict[str, tuple[str, ...]]


class Folder:
    """A manifest with one prompt and the files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")

    def parsed(self, prompt: str, more: str = "") -> ParsedManifest:
        content = f"version: 1\nshots:\n- {{model: m, prompt: {json.dumps(prompt)}}}\n{more}"
        return parse_manifest(content, source="m.yaml", files=FileReader(self.path))

    def wildcards(self, prompt: str, more: str = "") -> Lists:
        """Those in use, after checking that the manifest means the same as it is sent."""
        parsed = self.parsed(prompt, more)
        again = parse_manifest(inlined(parsed), source="sent", files=None)
        assert again.manifest == parsed.manifest
        return parsed.manifest.wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "inner").mkdir()
    return Folder(tmp_path / "inner")


#: File in `wildcards/`, a mention, the name of the wildcard.
NAMED = [
    ("hair color.txt", "__hair color__", "hair color"),
    ("European Art/painters.txt", "__European Art/painters__", "European Art/painters"),
    ("nested/test.txt", r"__nested\test__", "nested/test"),
    ("颜色.txt", "__颜色__", "颜色"),
    ("Größe.TXT", "__größe__", "Größe"),
    ("a.b-c_1.txt", "__a.b-c_1__", "a.b-c_1"),
    ("a.b-c_1.txt", "__A.B-C_1.txt__", "a.b-c_1"),
    ("people/x, y {z}.txt", "__people/*__", "people/x, y {z}"),
]
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
PLANTS: Lists = {"pack.yaml/plants": ("oak", "elm")}
CATS = PLANTS | {"pack.yaml/animals/cats": ("lion", "3::lynx", "__plants__")}
BIRDS = CATS | {"pack.yaml/animals/birds": ("wren", "a big __cats__")}
PACKED = [
    ("__pack/animals/cats__", CATS),
    ("__animals/cats__", CATS),
    ("__animals/birds__", BIRDS),
    ("__animals__", BIRDS),
    ("__pack.yaml__", BIRDS),
    ("__pack/plants__", PLANTS),
]
#: Files in `wildcards/`, the prompt, lines of the manifest, the wildcards that are in use.
FOUND: list[tuple[dict[str, str], str, str, Lists]] = [
    *(
        ({file: "one\n2::two\n"}, f"a {mention}", "", {name: ("one", "2::two")})
        for file, mention, name in NAMED
    ),
    *(({"pack.yaml": PACK}, f"a {mention}", "", found) for mention, found in PACKED),
    (
        {"deep/p.json": '{"a b": {"c": ["x"]}}', "list.yml": "- y\n- 7\n"},
        "__deep/p/a b/c__ __list__",
        "",
        {"deep/p.json/a b/c": ("x",), "list.yml": ("y", "7")},
    ),
    # The neighbour before the file of that name further out.
    (
        {
            "jumbo/creatures/adnd.txt": "a __beasts__, a __rocks__\n",
            "jumbo/creatures/beasts.txt": "wyvern\n",
            "jumbo/rocks.txt": "flint\n",
            "beasts.txt": "cow\n",
        },
        "__jumbo/creatures/adnd__",
        "",
        {
            "jumbo/creatures/adnd": ("a __beasts__, a __rocks__",),
            "jumbo/creatures/beasts": ("wyvern",),
            "jumbo/rocks": ("flint",),
        },
    ),
    # Wildcards of the manifest, by such names too.
    (
        {},
        "__hair color__ __a/b__ __颜色__",
        "wildcards: {hair color: [red], 'a\\b': [x], 颜色: [红]}\n",
        {"hair color": ("red",), "a/b": ("x",), "颜色": ("红",)},
    ),
    # With those in their lines, each once.
    (
        {
            "people/job.txt": "{old|young} __trade__\n# no\n",
            "trade.txt": "smith\nbaker\n",
            "unused.txt": "x\n",
        },
        "a __people/job__",
        "",
        {"people/job": ("{old|young} __trade__",), "trade": ("smith", "baker")},
    ),
    ({"a.txt": "__b__\n", "b.txt": "__a__\n"}, "__a__", "", {"a": ("__b__",), "b": ("__a__",)}),
    # Those of the manifest come before files.
    ({"job.txt": "smith\n"}, "__job__", "wildcards: {job: [cook]}\n", {"job": ("cook",)}),
    (
        {"job.txt": "smith\n", "../trades.txt": "baker\n"},
        "__job__",
        "wildcards: {job: {file: trades.txt}}\n",
        {"job": ("baker",)},
    ),
    # A broken pack concerns those who mention it.
    ({"pack.yaml": "a: [x\n", "job.txt": "smith\n"}, "__job__", "", {"job": ("smith",)}),
]


@pytest.mark.parametrize(("files", "prompt", "more", "found"), FOUND)
def test_a_mention_is_the_wildcard_of_that_name_with_those_in_its_lines(
    folder: Folder, files: dict[str, str], prompt: str, more: str, found: Lists
) -> None:
    folder.put({f"wildcards/{name}": content for name, content in files.items()})
    assert folder.wildcards(prompt, more) == found


def test_a_pattern_takes_the_lines_of_all_files_and_lists_that_fit(folder: Folder) -> None:
    folder.put({f"wildcards/people/{name}": "- x\n" for name in ("b.txt", "a.yaml", "sub/c.txt")})
    more = "wildcards: {people/own: [o]}\n"
    assert list(folder.wildcards("__people/*__", more)) == ["people/own", "people/a.yaml", "people/b"]
    assert "people/sub/c" in folder.wildcards("__people/**__", more)


def test_linked_folders_are_looked_through_and_a_circle_of_links_ends(folder: Folder) -> None:
    folder.put({"wildcards/real/w.txt": "x\n"})
    (folder.path / "wildcards/link").symlink_to(folder.path / "wildcards/real")
    (folder.path / "wildcards/real/up").symlink_to(folder.path / "wildcards")
    assert list(folder.wildcards("__real/w__")) == ["real/w"]


#: Files, the prompt, lines of the manifest, where each problem or warning is and what it names.
TOLD = [
    *(
        (
            {
                "wildcards/job.txt": f"smith\n{mention}\n{mention} {mention}\n",
                "wildcards/people/a.txt": "x\n",
            },
            f"{mention} {mention}, __job__",
            "",
            [f"3:23: shots[0].prompt: {told}"],
        )
        for mention, told in (
            ("__jbo__", "unknown wildcard `__jbo__`: did you mean `__job__`?"),
            ("__gone/far__", "unknown wildcard `__gone/far__`; there is no `wildcards/gone/far.txt`"),
            ("__people__", "`__people__` is a folder of wildcards; write `__people/*__`"),
            ("__gone/*__", "no wildcard matches `__gone/*__`"),
        )
    ),
    (
        {"wildcards/job.txt": "smith\nold __trde__\n", "wildcards/trade.txt": "smith\n"},
        "a __job__",
        "",
        ["wildcards/job.txt:2:5: unknown wildcard `__trde__`: did you mean `__trade__`"],
    ),
    (
        {"wildcards/pack.yaml": "a: [x\n"},
        "__pack/a__",
        "",
        ["3:23: shots[0].prompt: unknown wildcard `__pack/a__`; `wildcards/pack.yaml` cannot be read on"],
    ),
    (
        {"wildcards/pack.yaml": "a:\n- x\n- {y: z}\n- '{q'\n"},
        "__pack/a__",
        "",
        ["wildcards/pack.yaml:3", "wildcards/pack.yaml:4:1"],
    ),
    ({"../secret.txt": "x\n"}, "__../../secret__", "", ["3:23: shots[0].prompt: unknown wildcard"]),
    ({}, "a", "wildcards: {'a,b': [x], c: [y]}\n", ["4:13: wildcards.a,b: no prompt can refer to `__a,b__`"]),
    # One that lies elsewhere.
    ({"Wildcards/w.txt": "hat\n"}, "a __w__", "", ["move `Wildcards/w.txt` there"]),
    ({"w.txt": "hat\n"}, "a __w__", "", ["move `w.txt` there"]),
    ({"wildcards/people/w.txt": "hat\n"}, "a __w__", "", ["did you mean `__people/w__`?"]),
]


@pytest.mark.parametrize(("files", "prompt", "more", "wanted"), TOLD)
def test_a_mistake_is_told_once_at_its_place(
    folder: Folder, files: dict[str, str], prompt: str, more: str, wanted: list[str]
) -> None:
    folder.put(files)
    try:
        found = folder.parsed(prompt, more).warnings
    except InvalidDocument as error:
        found = error.problems
    for told, want in zip(found, wanted, strict=True):
        assert want in told.at("m.yaml")
