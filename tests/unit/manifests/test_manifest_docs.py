"""The pages on manifests tell the truth: their examples plan, and no key is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from common.catalog import build_catalog, read_entries, with_entry
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


#: The built-in catalog has no upscaler.
SHARP = {
    "architecture": "ESRGAN",
    "scale": 4,
    "tflop_per_mp": 36.0,
    "identity": f"sha256:{4:064}",
    "path": "4x-sharp.safetensors",
    "license": "own-work",
}


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_of_the_docs_plans_as_written(block: str) -> None:
    catalog = build_catalog(with_entry(read_entries(), "upscalers", "4x-sharp", SHARP, source="added"))
    files = FileReader(ROOT / "manifests")
    parsed = parse_manifest(block, source="docs", files=files, catalog=catalog)
    shots = expand(parsed, catalog)
    check_names(shots)
    assert len({shot.id for shot in shots}) == len(shots)
    Draft202012Validator(manifest_schema()).validate(plain(read_yaml(block, "docs")[0].root))


def test_every_key_is_described_by_the_schema_and_named_in_the_reference() -> None:
    schema, reference = str(manifest_schema()), REFERENCE.read_text()
    keys = {**MANIFEST_KEYS, **GROUP_KEYS, **OUTPUT_KEYS, **LIMITS_KEYS}
    assert [name for name, key in keys.items() if not key.about or key.about[:20] not in schema] == []
    assert [name for name in (*keys, "lora") if not re.search(rf"`{name}[`:]", reference)] == []
    assert f"| {Invalid.exit_code} | the manifest is wrong |" in reference
