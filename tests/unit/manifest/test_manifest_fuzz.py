"""Whatever is fed in, a manifest comes out or InvalidDocument; never another error, never a hang."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.catalog import Catalog, load_catalog
from common.errors import InvalidDocument
from common.manifest.inline import inlined
from common.manifest.parse import (
    GROUP_KEYS,
    LIMITS_KEYS,
    MANIFEST_KEYS,
    OUTPUT_KEYS,
    ParsedManifest,
    parse_manifest,
)

WORDS = sorted(
    {*MANIFEST_KEYS, *GROUP_KEYS, *OUTPUT_KEYS, *LIMITS_KEYS, "from", "to", "step", "file", "values"}
)
#: What manifests are made of, and what breaks careless readers.
FRAGMENTS = [
    *WORDS, "version: 1", "\n", "\n- ", "\n  ", ": ", "[", "]", "{", "}", "&a", "*a", "|", ">", "'", '"', "#",
    "\t", "---", "!!int", "?", "~", "1e999", ".nan", "0x10", "9:16", "a@0.8", "{a|b}", "__x__", "<lora:a:1>",
    "\\", "\ufeff", "\u2028", "é", "\x00",
]  # fmt: skip

SOUND = """\
version: 1
name: campaign
defaults: {model: z-image-turbo, size: {aspect: 2:3, megapixels: 1}, loras: ["ana_v2@0.5"], negative: no}
shots:
- name: hero
  prompt: "{trigger}, {persona.look} in {scene}, {smiling|{2$$serious|calm|sad}}, __job__"
  axes:
    persona:
    - {name: ana, look: "red hair", loras: [ana_v2@0.8]}
    - {name: bo, look: 'grey beard', steps: 007}
    scene: {values: [9:16, "a {b|c}"], expand: true}
    guidance: {from: 0.1, to: 0.3, step: 0.1}
  include: [{scene: attic, steps: 4}]
  exclude: [{persona.name: bo, guidance: 0.2}]
  seeds: {start: 100, count: 4, mode: random}
- prompt: >
    a cat: grey,
    seen at noon
  axes: {p: [x, y], size: [512x512, {aspect: 1:1}]}
  zip: [[p, size]]
output: {format: webp, name: "{seed}"}
wildcards: {job: [baker, "{old|young} __trade__"], trade: [smith]}
"""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [*WORDS, "832x1216", "2:3", "ana_v2@0.8", "z-image", "{a|b}", "{x", "__job__", "$$", "1e9999"]
    ),
)
structures = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner)
    ),
    max_leaves=25,
)
sections = st.fixed_dictionaries({}, optional={key: structures for key in MANIFEST_KEYS if key != "shots"})
groups = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(GROUP_KEYS, structures)), max_size=3)

quick = settings(max_examples=40, deadline=2000, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def outcome(content: str | bytes, catalog: Catalog) -> ParsedManifest | InvalidDocument:
    try:
        return parse_manifest(content, source="fuzz", files=None, catalog=catalog)
    except InvalidDocument as error:
        return error


@quick
@given(content=st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)))
def test_any_text_is_a_manifest_or_invalid(content: str, catalog: Catalog) -> None:
    check(outcome(content, catalog))


@quick
@given(content=st.binary())
def test_any_bytes_are_a_manifest_or_invalid(content: bytes, catalog: Catalog) -> None:
    check(outcome(content, catalog))


@quick
@given(frame=sections, shots=groups)
def test_any_structure_is_a_manifest_or_invalid(
    frame: dict[str, Any], shots: list[dict[str, Any]], catalog: Catalog
) -> None:
    found = outcome(json.dumps({"version": 1, **frame, "shots": shots}, ensure_ascii=False), catalog)
    check(found)


@quick
@given(at=st.integers(0, len(SOUND)), gone=st.integers(0, 30), put=st.sampled_from(FRAGMENTS))
def test_any_slip_in_a_sound_manifest_is_a_manifest_or_invalid(
    at: int, gone: int, put: str, catalog: Catalog
) -> None:
    check(outcome(SOUND[:at] + put + SOUND[at + gone :], catalog))


def check(found: ParsedManifest | InvalidDocument) -> None:
    """Problems have lines, and a sound manifest survives being written out and read again."""
    if isinstance(found, InvalidDocument):
        assert found.problems
        for problem in found.problems:
            assert problem.line is not None
            assert "\n" not in problem.message
            assert len(problem.message) < 400
    else:
        assert parse_manifest(inlined(found), source="again", files=None).manifest == found.manifest


def test_the_sound_manifest_is_sound(catalog: Catalog) -> None:
    check(parse_manifest(SOUND, source="sound", files=None, catalog=catalog))


@pytest.mark.parametrize("word", ["x" * 1_000_000, "a\\nb" * 100_000, "{" * 100_000, "__" * 100_000, "*" * 9])
@pytest.mark.parametrize(
    "content",
    [
        'version: 1\n"{}": 1\n',
        'version: 1\nshots: [{{model: "{}", prompt: p}}]\n',
        'version: 1\nshots: [{{model: m, prompt: "{}"}}]\n',
        'version: 1\nshots: [{{model: m, prompt: p, axes: {{"{}": [a]}}}}]\n',
        'version: 1\nshots: [{{model: m, prompt: p, size: "{}"}}]\n',
        'version: 1\nshots: [{{model: m, prompt: p, loras: ["{}"]}}]\n',
        'version: 1\nshots: [{{model: m, prompt: p, axes: {{x: {{file: "{}"}}}}}}]\n',
        'version: 1\nwildcards: {{"{}": [a]}}\n',
        'version: 1\n"{0}": 1\n"{0}": 2\n',
        "version: 1\nshots: {}\n",
        "version: 1\nshots: !{} x\n",
        "version: 1\nshots: *{}\n",
    ],
)
def test_a_message_stays_short_whatever_it_is_about(content: str, word: str, catalog: Catalog) -> None:
    check(outcome(content.format(word), catalog))
