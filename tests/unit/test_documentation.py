"""Documentation names what is there, and the code uses the words of the glossary."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common import chips, states
from common.catalog import load_catalog
from common.manifest.schema import manifest_schema
from coordinator.estimate import page as models_page
from coordinator.http import __main__ as api

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "coordinator", "gpu_node")
#: Pages that tell of the past name what is no more.
HISTORY = ("decisions.md",)
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if page.name not in HISTORY)

_PATH = re.compile(
    r"`((?:common|coordinator|gpu_node|tests|manifests|helm)/[\w./-]*)`(?:(?: \(|, )((?:`\w+`(?:, )?)+))?"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_name_on_a_page_exists(page: Path) -> None:
    for path, names in _PATH.findall(page.read_text()):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
        for name in re.findall(r"\w+", names):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"{page.name}: no {name} in {path}"


@pytest.mark.parametrize(
    ("file", "content", "command"),
    [
        ("docs/reference/api.md", api.page, "python -m coordinator.http"),
        ("docs/reference/states.md", states.page, "python -m common.states"),
        ("docs/reference/models.md", models_page.page, "python -m coordinator.estimate.page"),
        ("docs/reference/cards.md", lambda: f"{chips.page()}\n", "python -m common.chips"),
        (
            "manifests/manifest.schema.json",
            lambda: f"{json.dumps(manifest_schema(), indent=2)}\n",
            "farm schema",
        ),
    ],
)
def test_what_is_generated_is_what_the_code_says(file: str, content: Callable[[], str], command: str) -> None:
    assert (ROOT / file).read_text("utf-8") == content(), f"run `{command} > {file}`"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_every_link_on_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)]*)\)", page.read_text())
    for file, anchor in ((page.parent / target if target else page, anchor) for target, anchor in links):
        assert file.exists(), file
        assert not anchor or anchor in _headings(file), (file, anchor)


def _headings(page: Path) -> set[str]:
    """As they are linked to."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_pages_name_the_folders_of_models_as_the_catalog_does() -> None:
    known = {model.path for model in load_catalog().models.values()}
    named = {
        path
        for page in PAGES
        for path in re.findall(r"[\w.-]+/Z-Image(?:-Turbo)?(?![\w-])", page.read_text())
    }
    assert "Tongyi-MAI/Z-Image-Turbo" in named
    assert named <= known


def test_every_term_of_the_glossary_has_code_and_no_banned_word_names_anything() -> None:
    glossary = (ROOT / "docs/reference/glossary.md").read_text()
    terms, banned = glossary.split("Words that this code base does not use", 1)
    assert all(re.search(r"\| `[\w/.]+` \|$", row) for row in _rows(terms))
    words = {word for row in _rows(banned) for word in re.split(r",\s*", row.split("|")[1].strip())}
    assert words
    for name, path in _defined():
        parts = {part.lower().rstrip("s") for part in re.findall(r"[A-Za-z][a-z]*", name)}
        assert not parts & {word.rstrip("s") for word in words}, f"{name} in {path}"


def test_a_name_means_one_class() -> None:
    places = defaultdict(set)
    for name, path in _defined(classes_only=True):
        places[name].add(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def _rows(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def _defined(*, classes_only: bool = False) -> Iterator[tuple[str, str]]:
    """Public names of modules, classes and functions, each with its file."""
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            where = str(file.relative_to(ROOT))
            if not classes_only:
                yield file.stem, where
            for node in ast.walk(ast.parse(file.read_text())):
                kinds = (ast.ClassDef,) if classes_only else (ast.ClassDef, ast.FunctionDef)
                if isinstance(node, kinds) and not node.name.startswith("_"):
                    yield node.name, where
