"""What a weight file is and which family of models it belongs to, by the names and shapes of its tensors.

File names say nothing here: people rename files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from common.errors import Invalid
from common.weights.classifier import classifier_architecture
from common.weights.header import Header, Tensor
from common.weights.lora import lora_denoiser, lora_families, lora_format, lora_layers
from common.weights.textual_inversion import inversion_form
from common.weights.upscaler import ARCHITECTURES, UpscalerForm, upscaler_form, upscaler_prefix

#: `checkpoint`: all parts of a model in one file. `denoiser`, `text_encoder`, `vae`: one part of it.
Kind = Literal[
    "checkpoint", "denoiser", "text_encoder", "vae", "lora", "textual_inversion", "upscaler", "classifier"
]
Tensors = Mapping[str, Tensor]

#: Families that files are told apart by, and what people call them. The catalog has some of them.
FAMILIES = {
    "sd15": "Stable Diffusion 1.5",
    "sd2": "Stable Diffusion 2",
    "sdxl": "SDXL",
    "sdxl-refiner": "the SDXL refiner",
    "inpainting": "an inpainting model",
    "sd3": "Stable Diffusion 3",
    "z-image": "Z-Image",
    "lumina2": "Lumina 2",
    "flux1": "FLUX.1",
    "flux2-klein": "FLUX.2 klein",
    "flux2-dev": "FLUX.2 dev",
    "chroma": "Chroma",
    "qwen-image": "Qwen-Image",
}
#: A denoiser has all keys of a line; the first line that matches counts. Twice where diffusers names them
#: differently from the training code.
_DENOISERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("chroma", frozenset({"distilled_guidance_layer.in_proj.weight"})),
    ("flux2", frozenset({"single_stream_modulation.lin.weight"})),
    ("flux2", frozenset({"single_stream_modulation.linear.weight"})),
    ("z-image", frozenset({"cap_embedder.0.weight", "layers.0.adaLN_modulation.0.weight"})),
    ("lumina2", frozenset({"cap_embedder.0.weight", "layers.0.adaLN_modulation.1.weight"})),
    ("flux1", frozenset({"double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_mod.lin.weight"})),
    ("flux1", frozenset({"single_transformer_blocks.0.proj_mlp.weight"})),
    ("qwen-image", frozenset({"txt_norm.weight", "transformer_blocks.0.img_mod.1.weight"})),
    ("sd3", frozenset({"joint_blocks.0.context_block.adaLN_modulation.1.weight"})),
    ("sd3", frozenset({"pos_embed.proj.weight", "transformer_blocks.0.attn.add_k_proj.weight"})),
    ("unet", frozenset({"input_blocks.0.0.weight", "time_embed.0.weight", "out.2.weight"})),
    ("unet", frozenset({"conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight"})),
)
_FLUX2_DEV = ("guidance_in.in_layer.weight", "time_guidance_embed.guidance_embedder.linear_1.weight")
#: Any of these keys: the names are those of diffusers.
_DIFFUSERS_NAMES = (
    "single_stream_modulation.linear.weight",
    "all_x_embedder.2-1.weight",
    "time_embedding.linear_1.weight",
    "decoder.mid_block.resnets.0.norm1.weight",
    "decoder.mid_block.resnets.0.norm1.gamma",
    "single_transformer_blocks.0.proj_mlp.weight",
)
_DENOISER = "model.diffusion_model."
#: Beginnings of keys in a checkpoint to the component, and in a part that is shared alone.
_CHECKPOINT_PARTS = {
    "first_stage_model.": "vae",
    "vae.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.embedders.0.": "text_encoder",
    "conditioner.embedders.1.": "text_encoder_2",
}
_TEXT_ENCODERS = "text_encoders."
_COMPONENT = re.compile(
    r"model\.diffusion_model\.|first_stage_model\.|vae\.|text_encoders\.[^.]+\.transformer\."
)
#: Beginnings of all keys that a file of one component may have.
COMPONENT_PREFIXES = (_DENOISER, "diffusion_model.", "first_stage_model.", "vae.")
_CONTROLNETS = ("control_model.", "controlnet_", "control_all_x_embedder.", "control_layers.")
_VAES = ("decoder.mid.block_1.norm1.weight", "decoder.mid_block.resnets.0.norm1.weight")
#: The same of the VAE that Qwen-Image has from a video model.
_VIDEO_VAES = ("decoder.middle.0.residual.0.gamma", "decoder.mid_block.resnets.0.norm1.gamma")
#: Channels of the latent picture to the families whose VAE has as many.
_LATENT_CHANNELS = {4: ("sd15", "sdxl"), 16: ("z-image", "flux1", "chroma"), 32: ("flux2-klein",)}
#: A key of a text encoder to its component and the families that have such a one.
#: T5 is the second of FLUX.1 and the only one of Chroma.
_ENCODERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "model.layers.0.self_attn.q_norm.weight": ("text_encoder", ("z-image", "flux2-klein")),
    "layers.0.self_attn.q_norm.weight": ("text_encoder", ("z-image", "flux2-klein")),
    "model.layers.0.self_attn.q_proj.weight": ("text_encoder", ("qwen-image",)),
    "text_model.encoder.layers.0.self_attn.q_proj.weight": ("text_encoder", ("sd15", "sdxl", "flux1")),
    "encoder.layers.0.self_attn.q_proj.weight": ("text_encoder", ("sd15", "sdxl", "flux1")),
    "encoder.block.0.layer.0.SelfAttention.q.weight": ("text_encoder_2", ("flux1", "chroma")),
}
#: Keys that most upscalers have, also those of an architecture that nodes cannot load.
_UPSCALERS = (("conv_first.weight", "conv_last.weight"), ("conv_first.weight", "conv_after_body.weight"))
#: Ends of keys that weights have which ComfyUI or others packed in fewer bits, in a way of their own.
_PACKED = (".scale_weight", ".comfy_quant", ".weight_scale", ".qweight", ".absmax", "scaled_fp8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognition:
    kind: Kind
    #: The family; several where the header does not tell which, none where it tells nothing.
    families: tuple[str, ...]
    #: Number of parameters by component as diffusers names it; empty for what is no part of a model.
    components: dict[str, int] = field(default_factory=dict)
    #: Whether tensors are named as diffusers names them, not as the training code did.
    diffusers_names: bool = False
    #: `peft`, `kohya`, `loha`, `lokr`; empty for what is no LoRA.
    lora_format: str = ""
    #: Layers that the LoRA changes.
    lora_layers: int = 0
    #: Parameters of the denoiser that a LoRA was made for, where its width tells; 0: unknown.
    lora_denoiser: int = 0
    #: Vectors of a textual inversion.
    vectors: int = 0
    #: None if it is no upscaler, or one that nodes cannot load.
    upscaler: UpscalerForm | None = None
    #: dtype of most weights, such as `BF16` or `Q4_K`.
    dtype: str = ""


def recognise(header: Header, name: str) -> Recognition:
    """Raises Invalid, with what is known, if the file is none of `Kind`."""
    tensors = header.tensors
    if layers := lora_layers(tensors):
        families = lora_families(layers, header.metadata)
        return Recognition(
            kind="lora",
            families=families,
            lora_format=lora_format(tensors),
            lora_layers=len(layers),
            lora_denoiser=lora_denoiser(layers, families),
        )
    _refuse_packed(tensors, name)
    dtype = _main_dtype(tensors)
    if classifier_architecture(tensors) is not None:
        return Recognition(kind="classifier", families=(), dtype=dtype)
    for found in (
        _checkpoint(tensors, dtype),
        _part(tensors, dtype),
        _textual_inversion(tensors),
        _upscaler(tensors),
    ):
        if found is not None:
            return found
    if any(key.startswith(_CONTROLNETS) for key in tensors):
        raise Invalid(f"{name} is a ControlNet, which this farm does not use yet")
    raise Invalid(
        f"{name} is of no kind that the farm knows: its tensors are named such as "
        f"{', '.join(f'`{key[:60]}`' for key in list(tensors)[:2]) or '(it has none)'}; "
        f"known are models, parts and LoRAs of {', '.join(FAMILIES.values())}, textual inversions, "
        f"upscalers ({', '.join(ARCHITECTURES)}) and image classifiers"
    )


def component_prefixes(tensors: Iterable[str]) -> list[str]:
    """Beginnings of the names that the tensors of each component have in a checkpoint which ComfyUI wrote."""
    return sorted({found[0] for key in tensors if (found := _COMPONENT.match(key))})


def _refuse_packed(tensors: Tensors, name: str) -> None:
    for key in tensors:
        if key.endswith(_PACKED):
            raise Invalid(
                f"{name} holds weights packed in a way that the farm cannot read (`{key[:60]}`); "
                "use the file in bf16 or fp16, or a GGUF file"
            )


def _main_dtype(tensors: Tensors) -> str:
    weights: Counter[str] = Counter()
    for tensor in tensors.values():
        weights[tensor.dtype] += tensor.parameters
    return weights.most_common(1)[0][0] if weights else ""


def _checkpoint(tensors: Tensors, dtype: str) -> Recognition | None:
    """A file with a denoiser and another component."""
    denoiser = _without(tensors, _DENOISER)
    parts: Counter[str] = Counter()
    encoders: dict[str, str] = {}
    for key, tensor in tensors.items():
        if part := _checkpoint_part(key, encoders):
            parts[part] += tensor.parameters
    if not denoiser or not parts:
        return None
    family, component = _denoiser(denoiser)
    if family == "sd15" and "text_encoder_2" in parts:
        family = "sdxl"
    return Recognition(
        kind="checkpoint",
        families=(family,) if family else (),
        components={component: _size(denoiser), **dict(sorted(parts.items()))},
        dtype=dtype,
    )


def _checkpoint_part(key: str, encoders: dict[str, str]) -> str | None:
    if key.startswith(_TEXT_ENCODERS):
        place = len(encoders) + 1
        return encoders.setdefault(
            key.split(".")[1], "text_encoder" if place == 1 else f"text_encoder_{place}"
        )
    return next((part for start, part in _CHECKPOINT_PARTS.items() if key.startswith(start)), None)


def _part(tensors: Tensors, dtype: str) -> Recognition | None:
    """A file with one component."""
    for prefix in (*COMPONENT_PREFIXES, ""):
        inner = _without(tensors, prefix)
        if not inner:
            continue
        names = not prefix and any(key in inner for key in _DIFFUSERS_NAMES)
        family, component = _denoiser(inner)
        if component:
            return _component("denoiser", component, (family,) if family else (), inner, names, dtype)
        if any(key in inner for key in _VAES):
            latent = inner.get("decoder.conv_in.weight")
            channels = latent.shape[1] if latent and len(latent.shape) > 1 else 0
            return _component("vae", "vae", _LATENT_CHANNELS.get(channels, ()), inner, names, dtype)
        if any(key in inner for key in _VIDEO_VAES):
            return _component("vae", "vae", ("qwen-image",), inner, names, dtype)
    for key, (name, families) in _ENCODERS.items():
        if key in tensors:
            return _component("text_encoder", name, families, tensors, True, dtype)
    return None


def _component(
    kind: Kind, name: str, families: tuple[str, ...], tensors: Tensors, names: bool, dtype: str
) -> Recognition:
    return Recognition(
        kind=kind,
        families=families,
        components={name: _size(tensors)},
        diffusers_names=names,
        dtype=dtype,
    )


def _denoiser(tensors: Tensors) -> tuple[str, str]:
    """Family and component of a denoiser; both empty if it is none, the family if it is unknown."""
    family = next((name for name, keys in _DENOISERS if keys <= tensors.keys()), "")
    if family == "unet":
        return _unet_family(tensors), "unet"
    if family == "flux2":
        family = "flux2-dev" if any(key in tensors for key in _FLUX2_DEV) else "flux2-klein"
    return family, "transformer" if family else ""


def _unet_family(tensors: Tensors) -> str:
    first = tensors.get("input_blocks.0.0.weight") or tensors["conv_in.weight"]
    if len(first.shape) > 1 and first.shape[1] > 4:
        return "inpainting"
    listens = next(
        (t.shape[-1] for key, t in tensors.items() if key.endswith("attn2.to_k.weight") and t.shape), 0
    )
    if "label_emb.0.0.weight" in tensors or "add_embedding.linear_1.weight" in tensors:
        return "sdxl-refiner" if listens == 1280 else "sdxl"
    return "sd2" if listens == 1024 else "sd15"


def _textual_inversion(tensors: Tensors) -> Recognition | None:
    form = inversion_form(tensors)
    if form is None:
        return None
    families = (form.family,) if form.family else ()
    return Recognition(kind="textual_inversion", families=families, vectors=form.vectors)


def _upscaler(tensors: Tensors) -> Recognition | None:
    form = upscaler_form(tensors)
    inner = _without(tensors, upscaler_prefix(tensors))
    if form is None and not any(all(key in inner for key in keys) for keys in _UPSCALERS):
        return None
    return Recognition(kind="upscaler", families=(), upscaler=form)


def _without(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors below a prefix, by the rest of their names."""
    if not prefix:
        return tensors
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _size(tensors: Tensors) -> int:
    return sum(tensor.parameters for tensor in tensors.values())
