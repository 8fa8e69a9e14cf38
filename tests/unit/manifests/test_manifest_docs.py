"""The pages on manifests tell the truth: their examples plan, and no key is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from common.catalog import load_catalog
from common.document.typed import plain
from common.document.yaml12 import read_yaml
from common.errors import Invalid
from common.manifest.files import FileReader
from common.manifest.groups import GROUP_KEYS
from common.manifest.parse import LIMITS_KEYS, MANIFEST_KEYS, OUTPUT_KEYS, parse_manifest
from common.manifest.schema import manifest_schema
from coordinator.expand import check_names, expand

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs/reference/manifest.md"
PAGES = [REFERENCE, ROOT / "docs/how-to/write-a-manifest.md", ROOT / "docs/how-to/compare-settings.md"]
_EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)

EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(_EXAMPLE.findall(page.read_text()))
    if "version: 1" in block
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_of_the_docs_plans_as_written(block: str) -> None:
    catalog = load_catalog()
    files = FileReader(ROOT / "manifests")
    parsed = parse_manifest(block, source="docs", files=files, catalog=catalog)
    shots = expand(parsed, catalog)
    check_names(shots)
    assert len({shot.id for shot in shots}) == len(shots)
    Draft202012Validator(manifest_schema()).validate(plain(read_yaml(block, "docs")[0].root))


@pytest.mark.parametrize("key", sorted({*MANIFEST_KEYS, *GROUP_KEYS, *OUTPUT_KEYS, *LIMITS_KEYS, "lora"}))
def test_the_reference_names_every_key(key: str) -> None:
    assert re.search(rf"`{key}[`:]", REFERENCE.read_text())


def test_the_reference_names_every_exit_code_of_an_invalid_manifest() -> None:
    assert f"| {Invalid.exit_code} | the manifest is wrong |" in REFERENCE.read_text()


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_anchors_in_the_reference_are_headings() -> None:
    text = REFERENCE.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
