"""LoRAs on a resident pipeline: taken whole or refused, and removed without a trace.

diffusers loads many a wrong LoRA without an error and without an effect. A LoRA counts as applied when
its file can be meant for this architecture, the pipeline lists its adapter, and as many layers carry it
as the file has. It is never fused into the weights, which could not be undone exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from gpu_node.errors import RenderError, first_line, is_device_lost, is_out_of_memory
from gpu_node.protocol import EngineLora

_PARTS = ("transformer", "unet", "text_encoder", "text_encoder_2")
_SD = frozenset({"StableDiffusionPipeline"})
_SDXL = frozenset({"StableDiffusionXLPipeline"})
_Z_IMAGE = frozenset({"ZImagePipeline"})
_FLUX = frozenset({"FluxPipeline", "Flux2Pipeline", "Flux2KleinPipeline"})
#: Width of the text that a U-Net's cross attention listens to.
_CROSS_ATTENTION = {768: _SD, 2048: _SDXL}
#: One such key a layer.
_DOWN = re.compile(r"\.(lora_A|lora_down|lora\.down)(\.[\w-]+)?\.weight$|\.lokr_w1(_a)?$")


def apply_loras(pipe: Any, loras: tuple[EngineLora, ...], pipeline: str) -> None:
    """Set exactly these LoRAs at their weights on a pipeline that has none.

    Raises RenderError `lora_rejected`, and what the card or its memory raised; the pipeline is then spoilt
    and must be dropped.
    """
    for place, lora in enumerate(loras):
        _apply(pipe, lora, f"lora{place}", pipeline)
    if loras:
        pipe.set_adapters([f"lora{place}" for place in range(len(loras))], [lora.weight for lora in loras])


def remove_loras(pipe: Any) -> None:
    """Leave the pipeline as if no LoRA had ever been set."""
    pipe.unload_lora_weights()
    if left := _layers(pipe, None):
        raise RenderError("render_error", f"{left} layers still carry a LoRA after it was removed")


def meant_for(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> frozenset[str]:
    """The pipeline classes a LoRA file can be for, by its header alone; empty when it does not tell."""
    base_names = (
        f"{metadata.get('ss_base_model_version', '')} {metadata.get('modelspec.architecture', '')}".lower()
    )
    for word, pipelines in (("sdxl", _SDXL), ("stable-diffusion-xl", _SDXL), ("sd_v1", _SD), ("flux", _FLUX)):
        if word in base_names:
            return pipelines
    for key, shape in shapes.items():
        if (
            "context_refiner" in key
            or "noise_refiner" in key
            or re.search(r"layers[._]\d+[._]attention", key)
        ):
            return _Z_IMAGE
        if re.search(r"single_(transformer_)?blocks|double_blocks", key):
            return _FLUX
        if re.search(r"attn2[._]to_k.*(lora_A|lora_down|lora\.down)", key):
            return _CROSS_ATTENTION.get(shape[-1], _SD | _SDXL)
    return frozenset()


def _apply(pipe: Any, lora: EngineLora, adapter: str, pipeline: str) -> None:
    shapes, metadata = _header(lora)
    bases = meant_for(shapes, metadata)
    if bases and pipeline not in bases:
        raise _mismatch(lora, f"it was made for {' or '.join(sorted(bases))}, but the model is a {pipeline}")
    where = {"weight_name": lora.file.name, "use_safetensors": True, "local_files_only": True}
    try:
        pipe.load_lora_weights(str(lora.file.parent), adapter_name=adapter, **where)
        wanted = max(_count_down(shapes), _count_down(_converted(pipe, lora, where)))
    except Exception as error:  # every family refuses in its own way
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        raise _mismatch(lora, f"{pipeline} cannot load it: {first_line(error)[:200]}") from error
    if not any(adapter in adapters for adapters in pipe.get_list_adapters().values()):
        raise _mismatch(lora, f"the model has none of its {wanted} layers")
    if (taken := _layers(pipe, adapter)) != wanted:
        raise _mismatch(lora, f"the model has only {taken} of its {wanted} layers")


def _header(lora: EngineLora) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shape by key, and the metadata, of a safetensors file."""
    if not lora.file.is_file():
        raise RenderError("model_missing", f"{lora.name}: {lora.file} is missing on this node")
    try:
        with safe_open(str(lora.file), framework="pt") as opened:
            shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
            return shapes, opened.metadata() or {}
    except Exception as error:
        raise _mismatch(lora, f"{lora.file} is not a safetensors file: {error}") from error


def _converted(pipe: Any, lora: EngineLora, where: dict[str, Any]) -> dict[str, Any]:
    """The file's tensors under diffusers' own names; other trainers' fused layers become several."""
    found = pipe.lora_state_dict(str(Path(lora.file).parent), **where)
    return dict(found[0] if isinstance(found, tuple) else found)


def _count_down(keys: Mapping[str, Any]) -> int:
    return sum(1 for key in keys if _DOWN.search(key))


def _layers(pipe: Any, adapter: str | None) -> int:
    """Layers of the pipeline that carry this LoRA, or any."""
    held = [
        module.lora_A
        for name in _PARTS
        if (part := getattr(pipe, name, None)) is not None
        for module in part.modules()
        if hasattr(module, "lora_A")
    ]
    return sum(1 for adapters in held if adapter is None or adapter in adapters)


def _mismatch(lora: EngineLora, why: str) -> RenderError:
    return RenderError("lora_rejected", f"LoRA {lora.name} was rejected: {why}")
