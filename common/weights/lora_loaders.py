"""How diffusers 0.42 finds the layers of a LoRA's file in each pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.weights.layer_names import (
    Rename,
    flat,
    flux1_names,
    flux2_names,
    same_name,
    text_encoder_names,
    unet_names,
    z_image_lora_names,
)
from common.weights.lora_file import LoraFile

#: Component, name with `_` for each dot, and what makes it that of diffusers; None: it is dropped.
Place = tuple[str, str, Rename] | None

_COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
_TEXT_ENCODERS = {"lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
#: Beginnings of layers' names in FLUX.2 that are the same where training code and diffusers share the rest.
_SHARED = ("transformer_blocks_", "single_transformer_blocks_")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraLoader:
    place: Callable[[str, LoraFile], Place]
    #: Beginning of layers' names that are else those of diffusers.
    prefix: str
    #: Whether the values of alpha are read in this file; else it is refused as a whole.
    reads_alphas: Callable[[LoraFile], bool]
    #: What the engine makes of a name in training code, where it finds the layer itself (a hooked file).
    rename: Rename = same_name
    #: Whether keys may name an adapter.
    reads_adapters: bool = False


def direct(name: str, file: LoraFile) -> Place:
    """By the names of diffusers, below that of the component."""
    component, dot, inner = name.partition(".")
    if not dot or component not in _COMPONENTS or "lora_down" in file.spellings:
        return None
    return component, flat(inner), text_encoder_names if component.startswith("text") else same_name


def _z_image(name: str, file: LoraFile) -> Place:
    return _converted(name, file, z_image_lora_names)


def _qwen_image(name: str, file: LoraFile) -> Place:
    place = _converted(name, file, same_name)
    return None if "lora.down" in file.spellings and _is_converted(file) else place


def _is_converted(file: LoraFile) -> bool:
    """Whether diffusers changes names before it looks for layers."""
    is_written_by_others = bool({"diffusion_model.", "lora_unet_"} & file.prefixes)
    return is_written_by_others or file.has_alphas or file.has_adapters or file.is_fused


def _converted(name: str, file: LoraFile, rename: Rename) -> Place:
    if not _is_converted(file):
        return direct(name, file)
    for prefix in ("diffusion_model.", "transformer.", "lora_unet_"):
        name = name.removeprefix(prefix)
    return "transformer", flat(name), rename


def _flux2(name: str, file: LoraFile) -> Place:
    if "lora_down" in file.spellings:
        inner = name.removeprefix("lora_unet_")
        # Layers that modulate are dropped.
        is_known = inner != name and not inner.endswith(("_lin", "_modulation_1"))
        return _trained(inner) if is_known else None
    if {"diffusion_model.", "base_model.model."} & file.prefixes:
        inner = flat(name.removeprefix("base_model.model.").removeprefix("diffusion_model."))
        return ("transformer", inner, same_name) if inner.startswith(_SHARED) else _trained(inner)
    return direct(name, file)


def _trained(inner: str) -> Place:
    """By a name of the training code of FLUX.2."""
    return ("transformer", inner, flux2_names) if flux2_names(inner) != (inner,) else None


def _sd15(name: str, file: LoraFile) -> Place:
    return _stable_diffusion(name, file, same_name)


def _sdxl(name: str, file: LoraFile) -> Place:
    return _stable_diffusion(name, file, unet_names)


def _stable_diffusion(name: str, file: LoraFile, rename: Rename) -> Place:
    if not file.is_kohya:
        return direct(name, file)
    if file.spellings != {"lora_down"}:
        return None
    if name.startswith("lora_unet_"):
        return "unet", name.removeprefix("lora_unet_"), rename
    prefix = next(each for each in _TEXT_ENCODERS if name.startswith(each))
    return _TEXT_ENCODERS[prefix], name.removeprefix(prefix), text_encoder_names


#: Of a pipeline whose rules are not known.
PLAIN = LoraLoader(place=direct, prefix="transformer.", reads_alphas=lambda file: True, reads_adapters=True)
LOADERS = {
    "ZImagePipeline": LoraLoader(
        place=_z_image,
        prefix="transformer.",
        reads_alphas=lambda file: True,
        reads_adapters=True,
        rename=z_image_lora_names,
    ),
    "QwenImagePipeline": LoraLoader(
        place=_qwen_image, prefix="transformer.", reads_alphas=lambda file: True, reads_adapters=True
    ),
    "Flux2KleinPipeline": LoraLoader(
        place=_flux2,
        prefix="transformer.",
        reads_alphas=lambda file: "lora_down" in file.spellings,
        rename=flux2_names,
    ),
    "StableDiffusionPipeline": LoraLoader(
        place=_sd15, prefix="unet.", reads_alphas=lambda file: file.is_kohya, rename=unet_names
    ),
    "StableDiffusionXLPipeline": LoraLoader(
        place=_sdxl, prefix="unet.", reads_alphas=lambda file: file.is_kohya, rename=unet_names
    ),
}
#: Denoisers of pipelines whose rules are not known, by names of training code.
_TRAINED = {"FluxPipeline": flux1_names, "ChromaPipeline": flux1_names}
#: What programs write before names of the denoiser's layers.
_DENOISER = ("base_model.model.", "diffusion_model.", "lycoris_", "lora_unet_")


def place_of(name: str, file: LoraFile, pipeline: str) -> Place:
    """Where the layer of the file is in the pipeline."""
    loader = LOADERS.get(pipeline, PLAIN)
    if not file.is_hooked:
        return loader.place(name, file)
    for prefix, component in _TEXT_ENCODERS.items():
        if name.startswith(prefix):
            return component, name.removeprefix(prefix), text_encoder_names
    component, dot, inner = name.partition(".")
    if dot and component in _COMPONENTS:
        return component, flat(inner), text_encoder_names if component.startswith("text") else loader.rename
    for prefix in _DENOISER:
        name = name.removeprefix(prefix)
    rename = _TRAINED.get(pipeline, loader.rename)
    return loader.prefix.removesuffix("."), flat(name), rename


def resnets_of(unet: Iterable[str]) -> int:
    """Resnets of a block of a U-Net, by the names of its layers in diffusers."""
    return sum(1 for name in unet if name.startswith("down_blocks_0_resnets_") and name.endswith("_conv1"))
