"""Expansions of short manifests against a catalog whose LoRAs the tests know."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from textwrap import dedent

import pytest

from common.catalog import Catalog, License, Lora, load_catalog
from common.errors import InvalidDocument
from common.manifest.parse import parse_manifest
from coordinator.expand import Expansion, expand

FREE = License(name="free", commercial=True)


def _lora(name: str, base: str, *triggers: str) -> Lora:
    return Lora(
        name=name,
        base=base,
        identity=f"sha256:{name:0<64}",
        path=f"{name}.safetensors",
        license=FREE,
        triggers=triggers,
    )


@cache
def catalog() -> Catalog:
    """The built-in models, with LoRAs of its own."""
    loras = (
        _lora("ana", "z-image-turbo", "ana woman"),
        _lora("bo", "z-image-turbo", "bo man", "grey beard"),
        _lora("silent", "z-image-turbo"),
        _lora("poster", "sdxl", "poster style"),
        _lora("small", "flux2-klein-4b", "tiny"),
    )
    return replace(load_catalog(), loras={lora.name: lora for lora in loras})


def group(*lines: str, prompt: str = "a cat", model: str = "z-image-turbo", top: str = "") -> str:
    """A manifest with one group named `g`; `top` holds lines of the manifest itself."""
    head = ["version: 1", *dedent(top).splitlines(), "shots:", "- name: g", f"  model: {model}"]
    body = [f"  prompt: {prompt}"] if prompt else []
    return "\n".join(head + body + [f"  {line}" for text in lines for line in dedent(text).splitlines()])


#: Two groups with names of their own.
TWO = """\
version: 1
defaults: {{model: sdxl, prompt: x}}
output: {{name: "{top}", format: webp, quality: 80}}
shots:
- {{name: a, axes: {{p: [u, v]}}, negative: "{{p}}", output: {{name: "{first}"}}}}
- {{name: b, axes: {{q: [u, w]}}, negative: "not {{q}}", output: {{{second}}}}}
"""


def expanded(manifest: str, *, random_seed: int | None = None) -> Expansion:
    parsed = parse_manifest(manifest, source="m.yaml", files=None, catalog=catalog())
    return expand(parsed, catalog(), random_seed=random_seed)


def prompts(manifest: str, *, random_seed: int | None = None) -> list[str]:
    return [planned.shot.prompt for planned in expanded(manifest, random_seed=random_seed)]


def refused(manifest: str) -> list[str]:
    """The problems of a manifest, as a person reads them."""
    with pytest.raises(InvalidDocument) as caught:
        expanded(manifest)
    return str(caught.value).splitlines()


def warned(manifest: str) -> list[str]:
    return [problem.at("m.yaml") for problem in expanded(manifest).warnings]
