"""LoRAs on a resident pipeline: taken whole or refused, and removed without a trace.

diffusers loads many a wrong LoRA without an error and without an effect. A LoRA counts as applied when
its file fits the model, by the rules that the farm applies when a manifest is submitted, the pipeline lists
its adapter, and as many layers carry it as the file has. LoHas, LoKrs and DoRAs of their trainers are added
to layers one by one (`lycoris.py`). None is ever fused into the weights, which could not be undone exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from safetensors.torch import load_file

from common.catalog import phase_of
from common.errors import Invalid
from common.weights import Header, read_header
from common.weights.layer_names import flat
from common.weights.lora_file import FUSED, LoraFile, read_lora
from common.weights.lora_fit import lora_misfit
from gpu_node.engine.lycoris import Layer, Layers, add_hooks, count_hooks, remove_hooks, scale_doras
from gpu_node.errors import RenderError, first_line, is_device_lost, is_out_of_memory
from gpu_node.protocol import EngineLora

_PARTS = ("transformer", "unet", "text_encoder", "text_encoder_2")
#: Text encoders that no LoRA changes although diffusers says so: Chroma shares the loader of FLUX.1, in which
#: the name of its T5 is that of CLIP.
_UNCHANGED = {"ChromaPipeline": {"text_encoder"}}
#: One such key a layer.
_DOWN = re.compile(r"\.(lora_A|lora_down|lora\.down)(\.[\w-]+)?\.weight$")
_RESPELLED = ("ZImagePipeline", "QwenImagePipeline")
_OURS, _THEIRS = "transformer.", "diffusion_model."
#: To the one in which diffusers splits query, key and value.
_SPELLING = {
    ".lora_A.": ".lora.down.",
    ".lora_down.": ".lora.down.",
    ".lora_B.": ".lora.up.",
    ".lora_up.": ".lora.up.",
}


def changeable_parts(family: Any) -> set[str]:
    """Components that LoRAs can change in a pipeline of this class."""
    return set(getattr(family, "_lora_loadable_modules", ())) - _UNCHANGED.get(family.__name__, set())


def apply_loras(pipe: Any, loras: tuple[EngineLora, ...], pipeline: str) -> None:
    """Set exactly these LoRAs at their weights on a pipeline that has none.

    While it runs, weights of 8 bits may look full; `finish_loras` follows when they are themselves.
    Raises RenderError `lora_rejected`, and what the card or its memory raised; the pipeline is then spoilt
    and must be dropped.
    """
    layers = changeable_layers(pipe) if loras else {}
    modules = {part: {name: _shape(each) for name, each in held.items()} for part, held in layers.items()}
    plain: dict[str, EngineLora] = {}
    for place, lora in enumerate(loras):
        header = _header(lora)
        if why := lora_misfit(header, pipeline, modules or None):
            raise _mismatch(lora, why)
        if (file := read_lora(header)).is_hooked:
            _add(pipe, layers, lora, file)
        else:
            plain[f"lora{place}"] = lora
            take_whole(pipe, lora, header, f"lora{place}")
    if plain:
        pipe.set_adapters(list(plain), [_weights(pipe, *each) for each in plain.items()])


def finish_loras(pipe: Any) -> None:
    """Work out what LoRAs need of the weights of their layers."""
    scale_doras(changeable_layers(pipe))


def _add(pipe: Any, layers: Layers, lora: EngineLora, file: LoraFile) -> None:
    try:
        added = add_hooks(layers, lora, file, type(pipe).__name__)
    except Invalid as error:
        raise _mismatch(lora, str(error)) from error
    for part, additions in added.items():
        for addition in additions:
            addition.strength = _weight_of(lora, part)


def _weight_of(lora: EngineLora, part: str) -> float:
    is_text = phase_of(part) == "encode"
    return lora.text_weight if is_text and lora.text_weight is not None else lora.weight


def _weights(pipe: Any, adapter: str, lora: EngineLora) -> float | dict[str, float]:
    """One weight, or that of each part of the pipeline that carries the adapter."""
    if lora.text_weight is None:
        return lora.weight
    parts = [part for part, adapters in pipe.get_list_adapters().items() if adapter in adapters]
    return {part: _weight_of(lora, part) for part in parts}


def remove_loras(pipe: Any) -> None:
    """Leave the pipeline as if no LoRA had ever been set."""
    pipe.unload_lora_weights()
    layers = changeable_layers(pipe)
    remove_hooks(layers)
    if left := _layers(pipe, None) + count_hooks(layers):
        raise RenderError("render_error", f"{left} layers still carry a LoRA after it was removed")


def take_whole(pipe: Any, lora: EngineLora, header: Header, adapter: str) -> None:
    """Let diffusers load the LoRA. Raises RenderError `lora_rejected` unless it took all layers."""
    model = type(pipe).__name__
    try:
        source, where = _source(pipe, lora, header)
        pipe.load_lora_weights(source, adapter_name=adapter, **where)
        wanted = max(_count_down(header.tensors), _count_down(_converted(pipe, lora, header)))
    except Exception as error:  # every family refuses in its own way
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        raise _mismatch(lora, f"{model} cannot load it: {first_line(error)[:200]}") from error
    if not any(adapter in adapters for adapters in pipe.get_list_adapters().values()):
        raise _mismatch(lora, f"the model has none of its {wanted} layers")
    if (taken := _layers(pipe, adapter)) != wanted:
        raise _mismatch(lora, f"the model has only {taken} of its {wanted} layers")


def changeable_layers(pipe: Any) -> dict[str, dict[str, Layer]]:
    """What a LoRA can change in the pipeline, by the names of `common.weights`."""
    parts = (part for part in _PARTS if part in changeable_parts(type(pipe)))
    return {
        part: {
            # transformers leaves this prefix out of text encoders, depending on its version.
            flat(name).removeprefix("text_model_"): module
            for name, module in component.named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        }
        for part in parts
        if (component := getattr(pipe, part, None)) is not None
    }


def _shape(module: Layer) -> tuple[int, ...]:
    """That of the weight, however it is stored."""
    if isinstance(module, torch.nn.Linear):
        return module.out_features, module.in_features
    return tuple(module.weight.shape)


def _header(lora: EngineLora) -> Header:
    if not lora.file.is_file():
        raise RenderError("model_missing", f"{lora.name}: {lora.file} is missing on this node")
    try:
        return read_header(lora.file)
    except Invalid as error:
        raise _mismatch(lora, str(error)) from error


def _source(pipe: Any, lora: EngineLora, header: Header) -> tuple[Any, dict[str, Any]]:
    """What diffusers loads: the file, or its tensors under names that it takes."""
    names = _respelled(header.tensors) if type(pipe).__name__ in _RESPELLED else {}
    if names:
        return {names[key]: tensor for key, tensor in load_file(str(lora.file)).items()}, {}
    where = {"weight_name": lora.file.name, "use_safetensors": True, "local_files_only": True}
    return str(lora.file.parent), where


def _respelled(keys: Iterable[str]) -> dict[str, str]:
    """Keys of a LoRA, and how diffusers reads all of them; empty if it does so as they are."""
    layers = {key: key.rpartition(".lora_")[0] for key in keys}
    is_fused = any(layer.endswith(FUSED) for layer in layers.values())
    # Beside values of alpha or the name of an adapter it adds this prefix to what has it already.
    is_converted = any(key.endswith(".alpha") or ".default." in key for key in layers)
    has_both = is_converted and any(key.startswith(_OURS) for key in layers)
    if not (is_fused or has_both):
        return {}
    spelled = {}
    for key in layers:
        name = f"{_THEIRS}{key.removeprefix(_OURS)}" if key.startswith(_OURS) else key
        for theirs, ours in _SPELLING.items() if is_fused else ():
            name = name.replace(theirs, ours)
        spelled[key] = name
    return spelled


def _converted(pipe: Any, lora: EngineLora, header: Header) -> dict[str, Any]:
    """The file's tensors under diffusers' own names; other trainers' fused layers become several."""
    source, where = _source(pipe, lora, header)
    found = pipe.lora_state_dict(source, **where)
    return dict(found[0] if isinstance(found, tuple) else found)


def _count_down(keys: Mapping[str, Any]) -> int:
    return sum(1 for key in keys if _DOWN.search(key))


def _layers(pipe: Any, adapter: str | None) -> int:
    """Layers of the pipeline that carry this LoRA, or any."""
    carriers = [
        module.lora_A
        for name in _PARTS
        if (part := getattr(pipe, name, None)) is not None
        for module in part.modules()
        if hasattr(module, "lora_A")
    ]
    return sum(1 for adapters in carriers if adapter is None or adapter in adapters)


def _mismatch(lora: EngineLora, why: str) -> RenderError:
    return RenderError("lora_rejected", f"LoRA {lora.name} was rejected: {why}")
