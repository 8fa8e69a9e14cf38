"""The layers of a model that a LoRA can change, by the headers of its files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from common.catalog.types import lora_parts
from common.model_files import CHECKPOINT, ORIGINAL
from common.weights.header import Header
from common.weights.layer_names import (
    Rename,
    flat,
    flux2_names,
    same_name,
    text_encoder_names,
    unet_names,
    z_image_names,
)
from common.weights.recognition import COMPONENT_PREFIXES

#: Component to its layers: name in diffusers, with `_` for each dot, to the shape of the weight.
Modules = Mapping[str, Mapping[str, tuple[int, ...]]]

#: Pipelines to the names that their denoiser has in training code.
_TRAINED: dict[str, Rename] = {
    "ZImagePipeline": z_image_names,
    "Flux2KleinPipeline": flux2_names,
    "StableDiffusionPipeline": unet_names,
    "StableDiffusionXLPipeline": unet_names,
}
#: Beginnings of keys in a checkpoint to the component.
_CHECKPOINT_PARTS = {
    "model.diffusion_model.": "unet",
    "cond_stage_model.transformer.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
    "conditioner.embedders.1.model.": "text_encoder_2",
}


def weight_files(paths: Iterable[str], components: Collection[str]) -> list[str]:
    """Those of a model's files that hold what a LoRA can change; paths are below the model's folder."""
    parts = lora_parts(components)
    return [
        path
        for path in sorted(paths)
        if path == CHECKPOINT
        or (path.endswith(".safetensors") and PurePosixPath(path).parent.as_posix() in parts)
    ]


def lora_modules(headers: Mapping[str, Header], pipeline: str, components: Collection[str]) -> Modules | None:
    """What a LoRA can change, from the headers of `weight_files` by path.

    None if a component has no file, or its names are not known.
    """
    rename = _TRAINED.get(pipeline)
    if rename is None and any(PurePosixPath(path).name in (CHECKPOINT, ORIGINAL) for path in headers):
        return None
    rename = rename or same_name
    found: dict[str, dict[str, tuple[int, ...]]] = {part: {} for part in lora_parts(components)}
    for path, header in headers.items():
        if path == CHECKPOINT:
            for start, part in _CHECKPOINT_PARTS.items():
                if part in found:
                    found[part] |= _layers(_below(start, header), rename if part == "unet" else None)
            continue
        part = PurePosixPath(path).parent.as_posix()
        shapes = {key: tensor.shape for key, tensor in header.tensors.items()}
        if path.endswith(f"/{ORIGINAL}"):
            prefix = next(
                (start for start in COMPONENT_PREFIXES if all(key.startswith(start) for key in shapes)), ""
            )
            found[part] |= _layers(_below(prefix, header), rename)
        else:
            found[part] |= _layers(shapes, None if part.startswith("text_encoder") else same_name)
    return found if all(found.values()) else None


def _below(prefix: str, header: Header) -> dict[str, tuple[int, ...]]:
    return {
        key.removeprefix(prefix): tensor.shape
        for key, tensor in header.tensors.items()
        if key.startswith(prefix)
    }


def _layers(shapes: Mapping[str, tuple[int, ...]], rename: Rename | None) -> dict[str, tuple[int, ...]]:
    """Layers by the names of diffusers; `rename` is None for a text encoder."""
    resnets = _resnets(shapes)
    found: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        name = key.removesuffix(".weight").removesuffix("_weight")
        if len(shape) > 1:
            names = (rename or text_encoder_names)(flat(name), resnets)
            found |= {each: (shape[0] // len(names), *shape[1:]) for each in names}
    return found


def _resnets(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Resnets of a block of a U-Net whose blocks are numbered through: the first change of size follows."""
    places = (re.fullmatch(r"input_blocks\.(\d+)\.0\.op\.weight", key) for key in shapes)
    return min((int(found[1]) for found in places if found), default=3) - 1
