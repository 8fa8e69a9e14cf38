"""An inlined manifest needs no file and is equal to the one it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.parse import parse_manifest

RULEBOOK = Path(__file__).parent / "rulebook"


@pytest.mark.parametrize("name", ["campaign.yaml", "catalogue.yaml", "grid.yaml"])
def test_an_inlined_manifest_is_equal_without_files(name: str) -> None:
    parsed = parse_manifest((RULEBOOK / name).read_bytes(), source=name, files=FileReader(RULEBOOK))
    text = inlined(parsed)
    assert "file:" not in text
    assert parse_manifest(text, source="inlined", files=None).manifest == parsed.manifest


def test_expansion_of_a_files_values_survives_inlining(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("{a|b} __job__\n")
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards/job.txt").write_text("baker\n")
    content = "version: 1\nshots:\n- {model: m, prompt: '{x}', axes: {x: {file: s.txt, expand: true}}}\n"
    parsed = parse_manifest(content, source="m.yaml", files=FileReader(tmp_path))
    again = parse_manifest(inlined(parsed), source="inlined", files=None).manifest
    assert again == parsed.manifest
    assert again.shots[0].axes["x"].expand
    assert again.wildcards == {"job": ("baker",)}


@pytest.mark.parametrize(
    "line",
    ["no", "007", "9:16", "- x", "a: b", "'", '"', "\\", "é😀", "a\u2028b", "\x85x", "\x7f", "{a|b}", "1e3"],
)
def test_every_text_survives_inlining(tmp_path: Path, line: str) -> None:
    (tmp_path / "v.json").write_text(f'["{line.translate({34: chr(92) + chr(34), 92: chr(92) * 2})}"]')
    content = "version: 1\nshots:\n- {model: m, prompt: p, axes: {x: {file: v.json}}}\n"
    parsed = parse_manifest(content, source="m.yaml", files=FileReader(tmp_path))
    assert parsed.manifest.shots[0].axes["x"].values == (line,)
    assert parse_manifest(inlined(parsed), source="inlined", files=None).manifest == parsed.manifest


def test_aliases_are_written_out() -> None:
    content = "version: 1\nshots:\n- {model: m, prompt: p, axes: {x: &v [a, b], y: *v}}\n"
    parsed = parse_manifest(content, source="m.yaml", files=None)
    text = inlined(parsed)
    assert "*" not in text
    assert parse_manifest(text, source="inlined", files=None).manifest == parsed.manifest
