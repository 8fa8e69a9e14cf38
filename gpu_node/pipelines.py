"""From a catalog entry to a diffusers pipeline that is ready to render."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import torch

from common.catalog import lora_parts
from gpu_node.errors import RenderError, first_line, is_out_of_memory
from gpu_node.gguf import load_gguf
from gpu_node.identity import Hashes, verify_file, verify_model
from gpu_node.loras import apply_loras, remove_loras
from gpu_node.placement import Placement, denoiser_of, free_caches
from gpu_node.protocol import Load
from gpu_node.text import Texts
from gpu_node.weights import check_weights

#: Parts of a family that are never read. A checker that makes a suspect picture black would have it rendered
#: anew: one flat colour is a failure.
_NEVER: dict[str, dict[str, object]] = {
    "StableDiffusionPipeline": {
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
}


@dataclass(kw_only=True)
class LoadedModel:
    """A pipeline on its device, with the order that it fulfils."""

    order: Load
    pipe: Any
    placement: Placement
    texts: Texts
    #: The model's own scheduler; every pass works with a fresh copy.
    scheduler: Any


class Shelf:
    """The one model an engine holds, and how it comes and goes."""

    def __init__(self, device: str, hashes: Hashes) -> None:
        self._device = device
        self._hashes = hashes
        self.model: LoadedModel | None = None

    def hold(self, order: Load) -> None:
        """Have the ordered model with exactly the ordered LoRAs.

        Raises RenderError; afterwards nothing is held, so that no half-changed model can render.
        """
        if self.model is not None and self.model.order == order:
            return
        try:
            if self.model is None or not _same_model(self.model.order, order):
                self.drop()
                self.model = self._load(order)
            self._set_loras(self.model, order)
        except BaseException:
            self.drop()
            raise
        finally:
            self._hashes.save()

    def drop(self) -> None:
        self.model = None
        gc.collect()
        free_caches()

    def _load(self, order: Load) -> LoadedModel:
        if not order.folder.is_dir():
            raise RenderError("model_missing", f"{order.model}: no folder {order.folder} on this node")
        verify_model(order.model, order.folder, order.identity, self._hashes)
        if order.gguf is not None:
            verify_file(order.model, order.gguf.file, order.gguf.identity, self._hashes)
        pipe = self._load_as_fp8(order) if order.quantisation == "fp8" else load_pipeline(order)
        placement = Placement(pipe, self._device, order.placement)
        return LoadedModel(
            order=order,
            pipe=pipe,
            placement=placement,
            texts=Texts(pipe, order, placement),
            scheduler=pipe.scheduler,
        )

    def _load_as_fp8(self, order: Load) -> Any:
        """The denoiser is read and cast first: the host never holds its 16 bits beside all the rest."""
        last = order.weights.keys() - lora_parts(order.weights)
        pipe = load_pipeline(order, **dict.fromkeys(last))
        # Before casting: a LoRA cannot be set on weights that are already stored as fp8.
        self._check_loras(order)
        apply_loras(pipe, order.loras, order.pipeline)
        store_as_fp8(denoiser_of(pipe), getattr(torch, order.compute_dtype))
        free_caches()
        return load_pipeline(
            order, **{name: part for name, part in pipe.components.items() if part is not None}
        )

    def _set_loras(self, model: LoadedModel, order: Load) -> None:
        if order.quantisation == "fp8":
            return
        if model.order.loras or order.loras:
            self._check_loras(order)
            model.placement.attach_encoders()
            remove_loras(model.pipe)
            apply_loras(model.pipe, order.loras, order.pipeline)
            # A LoRA may change the text encoder.
            model.texts.forget()
        model.order = order

    def _check_loras(self, order: Load) -> None:
        for lora in order.loras:
            verify_file(lora.name, lora.file, lora.identity, self._hashes)


def load_pipeline(order: Load, **given: Any) -> Any:
    """The pipeline of `order.folder` in host memory; safetensors and GGUF only, nothing is fetched, no code
    that comes with a model is run.

    `given` are components that are not read: loaded before, or None for one that is not needed now.
    Raises RenderError `load_error`.
    """
    import diffusers

    if order.quantisation not in ("none", "fp8") and order.gguf is None:
        raise RenderError("load_error", f"{order.model}: this node cannot load {order.quantisation} weights")
    family = getattr(diffusers, order.pipeline, None)
    if family is None:
        raise RenderError("load_error", f"diffusers {diffusers.__version__} has no {order.pipeline}")
    given |= _NEVER.get(order.pipeline, {})
    if order.gguf is not None:
        given["transformer"] = load_gguf(order, order.gguf.file)
    check_weights(order.model, order.folder, unread=given)
    try:
        pipe = family.from_pretrained(
            str(order.folder),
            dtype=_dtypes(order),
            use_safetensors=True,
            local_files_only=True,
            **given,
        )
    except Exception as error:  # every library refuses in its own way
        if is_out_of_memory(error):
            raise
        why = first_line(error).rstrip(".")
        raise RenderError(
            "load_error",
            f"{order.model}: {order.folder} is no {order.pipeline}: {why}; fetch the model again",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def store_as_fp8(denoiser: Any, compute_dtype: torch.dtype) -> None:
    """Keep weights that were read as bfloat16 in 8 bits; each layer makes full ones while it computes."""
    denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=compute_dtype)
    for tensor in (*denoiser.parameters(), *denoiser.buffers()):
        if tensor.dtype == torch.bfloat16:
            tensor.data = tensor.data.to(compute_dtype)


def _dtypes(order: Load) -> dict[str, torch.dtype]:
    """Torch dtype by component; what becomes fp8 is read in 16 bits."""
    compute = getattr(torch, order.compute_dtype)
    read = {"fp8": torch.bfloat16}
    found = {part: read.get(name) or getattr(torch, name, compute) for part, name in order.weights.items()}
    return found | {"default": compute}


def _same_model(held: Load, wanted: Load) -> bool:
    """Whether only the LoRAs differ, and they can be changed on the held weights."""
    without = {"loras": ()}
    changeable = wanted.quantisation != "fp8" or held.loras == wanted.loras
    return changeable and held.model_copy(update=without) == wanted.model_copy(update=without)
