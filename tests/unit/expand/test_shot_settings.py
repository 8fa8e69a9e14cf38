"""What a shot is set to: by its group, else by the catalog, and what the two do not allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.catalog import Catalog
from common.manifest.model import Group, LoraRef, Manifest
from coordinator.expand import expand
from tests.unit.expand.making import catalog, expanded, group, refused


def test_what_the_manifest_does_not_say_comes_from_the_catalog() -> None:
    model = catalog().models["sdxl"]
    shot = expanded(group(model="sdxl"))[0].shot
    assert (shot.steps, shot.guidance, shot.sampler) == (model.steps, model.guidance, model.sampler)
    assert (shot.width, shot.height) == model.size
    assert (shot.format, shot.quality, shot.metadata) == ("png", 0, True)


@pytest.mark.parametrize(
    ("output", "quality"), [("webp", 90), ("jpeg", 92), ("png, quality: 5", 0), ("webp, quality: 5", 5)]
)
def test_each_format_has_its_own_quality(output: str, quality: int) -> None:
    assert expanded(group(top=f"output: {{format: {output}}}"))[0].shot.quality == quality


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        ("832x1216", (832, 1216)),
        ("1000x1000", (1008, 1008)),
        ("{aspect: 1:1, megapixels: 1}", (1024, 1024)),
        ("{aspect: 2:3, megapixels: 1}", (832, 1248)),
        ("{aspect: 16:9}", (1360, 768)),
        ("{megapixels: 0.25}", (512, 512)),
        ("17x23", (16, 16)),
    ],
)
def test_sizes_are_rounded_to_what_the_family_takes(size: str, pixels: tuple[int, int]) -> None:
    shot = expanded(group(f"size: {size}"))[0].shot
    assert (shot.width, shot.height) == pixels


def test_what_does_not_go_together_is_no_mistake_where_it_is_excluded() -> None:
    axes = (
        "axes: {model: [sdxl, z-image-turbo], style: [{name: a, loras: [poster]}, {name: b, loras: [ana]}]}"
    )
    exclude = "exclude: [{model: sdxl, style.name: b}, {model: z-image-turbo, style.name: a}]"
    assert len(refused(group(axes, model="sdxl"))) == 2
    assert [planned.shot.model for planned in expanded(group(axes, exclude, model="sdxl"))] == [
        "sdxl",
        "z-image-turbo",
    ]


def test_models_and_loras_without_a_fixed_identity_are_named() -> None:
    known = catalog()
    model, lora = known.models["z-image-turbo"], known.loras["ana"]
    used = LoraRef(name=lora.name, weight=0.5)
    manifest = Manifest(version=1, shots=(Group(name="g", prompt="x", model=model.name, loras=(used,)),))

    def unidentified(model_identity: str | None, lora_identity: str | None) -> tuple[str, ...]:
        models = {model.name: replace(model, identity=model_identity)}
        loras = {lora.name: replace(lora, identity=lora_identity)}
        return expand(manifest, Catalog(models=models, loras=loras)).unidentified

    assert unidentified("sha256:1", "sha256:2") == ()
    assert unidentified("sha256:1", None) == ("ana",)
    assert unidentified(None, None) == ("z-image-turbo", "ana")
