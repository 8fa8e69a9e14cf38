"""From a catalog entry to a diffusers pipeline that is ready to render."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any

import torch

from gpu_node.errors import RenderError
from gpu_node.gguf import load_gguf
from gpu_node.identity import Hashes, verify_file, verify_model
from gpu_node.loras import apply_loras, remove_loras
from gpu_node.placement import Placement, denoiser_of, free_cache
from gpu_node.protocol import Load
from gpu_node.text import Texts
from gpu_node.weights import check_weights

#: What torch, its backends and the system say when memory does not suffice.
_OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")


@dataclass(kw_only=True)
class LoadedModel:
    """A pipeline on its device, with the order that it fulfils."""

    order: Load
    pipe: Any
    placement: Placement
    texts: Texts
    #: Whether the files were compared with the catalog's identity.
    verified: bool
    #: The model's own scheduler; every pass works with a fresh copy.
    scheduler: Any


class Shelf:
    """The one model an engine holds, and how it comes and goes."""

    def __init__(self, device: str, hashes: Hashes) -> None:
        self._device = device
        self._hashes = hashes
        self.model: LoadedModel | None = None

    def hold(self, order: Load) -> tuple[LoadedModel, float]:
        """The ordered model with exactly the ordered LoRAs, and the seconds it took to get there.

        Raises RenderError; afterwards nothing is held, so that no half-changed model can render.
        """
        start = time.monotonic()
        if self.model is not None and self.model.order == order:
            return self.model, 0.0
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
        return self.model, time.monotonic() - start

    def drop(self) -> None:
        self.model = None
        gc.collect()
        free_cache()

    def _load(self, order: Load) -> LoadedModel:
        if not order.folder.is_dir():
            raise RenderError("model_missing", f"{order.model}: no folder {order.folder} on this node")
        verified = verify_model(order.model, order.folder, order.identity, self._hashes)
        if order.gguf is not None:
            verify_file(order.model, order.gguf.file, order.gguf.identity, self._hashes)
        pipe = load_pipeline(order)
        if order.quantisation == "fp8":
            # Casting comes last: a LoRA cannot be set on weights that are already stored as fp8.
            self._check_loras(order)
            apply_loras(pipe, order.loras, order.pipeline)
            denoiser_of(pipe).enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=getattr(torch, order.compute_dtype)
            )
        placement = Placement(pipe, self._device, order.placement)
        return LoadedModel(
            order=order,
            pipe=pipe,
            placement=placement,
            texts=Texts(pipe, order, placement),
            verified=verified,
            scheduler=pipe.scheduler,
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


def load_pipeline(order: Load) -> Any:
    """The pipeline of `order.folder` in host memory; safetensors and GGUF only, nothing is fetched, no code
    that comes with a model is run.

    Raises RenderError `load_error`.
    """
    import diffusers

    if order.quantisation not in ("none", "fp8") and order.gguf is None:
        raise RenderError("load_error", f"{order.model}: this node cannot load {order.quantisation} weights")
    family = getattr(diffusers, order.pipeline, None)
    if family is None:
        raise RenderError("load_error", f"diffusers {diffusers.__version__} has no {order.pipeline}")
    check_weights(order.model, order.folder, unread=() if order.gguf is None else ("transformer",))
    quantised = {} if order.gguf is None else {"transformer": load_gguf(order, order.gguf.file)}
    try:
        pipe = family.from_pretrained(
            str(order.folder),
            dtype=_dtypes(order),
            use_safetensors=True,
            local_files_only=True,
            **quantised,
        )
    except Exception as error:  # every library refuses in its own way
        if is_out_of_memory(error):
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise RenderError(
            "load_error",
            f"{order.model}: {order.folder} is no {order.pipeline}: {why}; fetch the model again",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the card's memory, or the host's, did not suffice."""
    known = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in _OUT_OF_MEMORY)


def _dtypes(order: Load) -> dict[str, torch.dtype]:
    """Torch dtype by component; quantised weights are read in the dtype they compute in."""
    compute = getattr(torch, order.compute_dtype)
    found = {part: getattr(torch, format_, compute) for part, format_ in order.weights.items()}
    return found | {"default": compute}


def _same_model(held: Load, wanted: Load) -> bool:
    """Whether only the LoRAs differ, and they can be changed on the held weights."""
    without = {"loras": ()}
    changeable = wanted.quantisation != "fp8" or held.loras == wanted.loras
    return changeable and held.model_copy(update=without) == wanted.model_copy(update=without)
