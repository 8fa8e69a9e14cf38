"""The JSON Schema accepts what the parser accepts, and catches in an editor what people mistype."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from common.document.typed import plain
from common.document.yaml12 import read_yaml
from common.manifest.schema import manifest_schema

RULEBOOK = Path(__file__).parent / "rulebook"
BROKEN = Path(__file__).parent / "broken"
VALIDATOR = Draft202012Validator(manifest_schema())

GROUP = "version: 1\nshots:\n- {model: m, prompt: p, %s}\n"


def errors(content: str | bytes) -> list[str]:
    text, problems = read_yaml(content, "m.yaml")
    assert not problems
    return [error.message for error in VALIDATOR.iter_errors(plain(text.root))]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(manifest_schema())


FRIENDLY = [
    "negative: no",
    "negative: 007",
    "negative: true",
    "seeds: 4",
    "seeds: [1, 2]",
    "seeds: {start: 5, mode: random}",
    "size: 832x1216",
    "size: {aspect: 2:3}",
    "size: {width: 64, height: 64}",
    "loras: a@0.8",
    "loras: [a, b@-1]",
    "loras: [{name: a, weight: 0.5}]",
    "axes: {x: [1, no, {a: b}]}",
    "axes: {x: {file: a.txt, expand: true}}",
    "axes: {x: {from: 1, to: 2}}",
    "axes: {x: {list: a, expand: true}, steps: {list: b}}",
    "axes: {x: {values: [a], expand: true}}",
    "axes: {loras: [[a, b@1], c]}",
    "axes: {size: [64x64, {aspect: 1:1}]}",
    "axes: {who: [{name: a, lora: b@0.5, size: 64x64}]}",
    "axes: {a: [x], b: [y]}, zip: [a, b]",
    "axes: {a: [x]}, include: [{a: y, steps: 4}], exclude: [{a: x}]",
]


@pytest.mark.parametrize(
    "content",
    [
        *((RULEBOOK / name).read_text("utf-8") for name in ("campaign.yaml", "catalogue.yaml", "grid.yaml")),
        *(GROUP % line for line in FRIENDLY),
    ],
)
def test_what_the_parser_accepts_follows_the_schema(content: str) -> None:
    assert errors(content) == []


@pytest.mark.parametrize(
    "name",
    [
        "misspelled-key.yaml",
        "misspelled-top-key.yaml",
        "misspelled-default.yaml",
        "misspelled-limit.yaml",
        "wrong-type-steps.yaml",
        "quoted-number.yaml",
        "prompt-is-mapping.yaml",
        "negative-size.yaml",
        "unknown-format.yaml",
        "metadata-no.yaml",
        "priority-too-high.yaml",
        "reserved-axis.yaml",
        "axis-is-text.yaml",
        "missing-version.yaml",
        "empty-shots.yaml",
        "seeds-zero.yaml",
        "range-without-end.yaml",
        "axis-value-steps.yaml",
        "limits-inside-group.yaml",
        "future-version.yaml",
        "bad-group-name.yaml",
    ],
)
def test_an_editor_marks_what_the_parser_refuses(name: str) -> None:
    assert errors((BROKEN / name).read_bytes())
