"""What a shot is set to: by its group, else by the catalog, and what the two do not allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.catalog import Catalog
from common.manifest.model import Group, LoraRef, Manifest
from coordinator.expand import expand
from tests.unit.expand.making import catalog, expanded, group, refused, warned


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


def test_a_rounded_size_is_said_once_for_a_group() -> None:
    lines = "axes: {guidance: [0, 1], steps: [4, 5]}", "size: 1000x1000"
    assert warned(group(*lines)) == [
        "m.yaml:7:9: shots[0].size: 1000x1000 is rounded to 1008x1008 (z-image requires multiples of 16)"
    ]
    assert warned(group("size: 1024x1024")) == []


def test_a_lora_for_the_sister_model_is_doubtful_and_one_for_another_base_is_wrong() -> None:
    (warning,) = warned(group("loras: [ana]", model="z-image"))
    assert "LoRA `ana` was made for `z-image-turbo`; on `z-image` it may work less well" in warning
    for model in ("sdxl", "flux2-klein-4b"):
        (problem,) = refused(group("loras: [ana]", model=model))
        assert f"LoRA `ana` was made for `z-image-turbo` and cannot work on `{model}`" in problem
    (problem,) = refused(group("loras: [small]", model="flux2-klein-9b"))
    assert "cannot work on `flux2-klein-9b`" in problem


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


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model: z-imag", "unknown model `z-imag`: did you mean `z-image`?"),
        ("loras: [anna]", "unknown LoRA `anna`: did you mean `ana`?"),
        ("sampler: eula", "has no sampler `eula`"),
        ("blind_steps: 9", "`blind_steps` of `z-image-turbo` must be 0 to 2"),
    ],
)
def test_what_the_catalog_does_not_have_is_named_with_its_place(line: str, words: str) -> None:
    manifest = group(line) if not line.startswith("model") else group(model=line.removeprefix("model: "))
    (problem,) = refused(manifest)
    assert problem.startswith(f"m.yaml:{4 if line.startswith('model') else 6}:")
    assert words in problem


def test_a_setting_that_a_family_does_not_have_is_refused() -> None:
    (problem,) = refused(group("shift: 3", model="sdxl"))
    assert "`sdxl` does not take `shift`" in problem


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
