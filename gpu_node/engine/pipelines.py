"""From a catalog entry to a diffusers pipeline that is ready to render."""

from __future__ import annotations

import gc
import inspect
from dataclasses import dataclass
from typing import Any

import torch

from common.catalog import EIGHT_BITS, lora_parts
from gpu_node.engine.compiling import Blocks
from gpu_node.engine.loras import apply_loras, changeable_parts, finish_loras, remove_loras
from gpu_node.engine.placement import ENCODERS, DevicePlacement, denoiser_of, free_caches
from gpu_node.engine.quantisation import looking_full, store_as_fp8, store_as_int8
from gpu_node.engine.text import Texts
from gpu_node.engine.upscaler import LoadedUpscaler, LoadedUpscalerSlot
from gpu_node.engine.weights import check_complete, check_weights, checkpoint_of, load_gguf, load_originals
from gpu_node.errors import RenderError, first_line, is_out_of_memory
from gpu_node.identity import Hashes, verify_file, verify_model
from gpu_node.protocol import Load

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
    """A pipeline on its device, with the command that loaded it."""

    load: Load
    pipe: Any
    placement: DevicePlacement
    texts: Texts
    blocks: Blocks
    #: The model's own scheduler; every pass works with a fresh copy.
    scheduler: Any
    upscaler: LoadedUpscaler | None = None


class LoadedModelSlot:
    """The one model an engine holds, and how it comes and goes."""

    def __init__(self, device: str, hashes: Hashes) -> None:
        self._device = device
        self._hashes = hashes
        self._upscalers = LoadedUpscalerSlot(device, hashes)
        self.model: LoadedModel | None = None

    def hold(self, load: Load) -> None:
        """Hold the model of `load` with exactly its LoRAs and its upscaler.

        Raises RenderError; afterwards nothing is held, so that no half-changed model can render.
        """
        if self.model is not None and self.model.load == load:
            return
        try:
            # The smallest first: one that cannot be used is told before a model is read.
            upscaler = self._upscalers.hold(load)
            if self.model is None or not _same_model(self.model.load, load):
                self.drop()
                self.model = self._load(load)
            self._set_loras(self.model, load)
            self.model.load, self.model.upscaler = load, upscaler
        except BaseException:
            self.drop()
            raise
        finally:
            self._hashes.save()

    def drop(self) -> None:
        if self.model is not None:
            self.model.blocks.forget()
        self.model = None
        gc.collect()
        free_caches()

    def _load(self, load: Load) -> LoadedModel:
        if not load.folder.is_dir():
            raise RenderError("model_missing", f"{load.model}: {load.folder} is missing on this node")
        verify_model(load.model, load.folder, load.identity, self._hashes)
        if load.gguf is not None:
            verify_file(load.model, load.gguf.file, load.gguf.identity, self._hashes)
        absent: dict[str, Any] = dict.fromkeys(_unchanged_encoders(load))
        if load.quantisation in EIGHT_BITS:
            pipe = self._load_in_8_bits(load, absent)
        else:
            pipe = load_pipeline(load, **absent)

        def read_absent() -> dict[str, Any]:
            whole = load_pipeline(load, **_parts_of(pipe))
            return {name: getattr(whole, name) for name in absent}

        placement = DevicePlacement(pipe, self._device, load.placement, read_absent if absent else None)
        return LoadedModel(
            load=load,
            pipe=pipe,
            placement=placement,
            texts=Texts(pipe, load, placement),
            blocks=Blocks(denoiser_of(pipe)),
            scheduler=pipe.scheduler,
        )

    def _load_in_8_bits(self, load: Load, absent: dict[str, Any]) -> Any:
        """The denoiser is read and cast first: the host never holds its 16 bits beside all the rest."""
        last = load.weights.keys() - lora_parts(load.weights)
        pipe = load_pipeline(load, **dict.fromkeys(last))
        compute = getattr(torch, load.compute_dtype)
        if load.quantisation == "fp8":
            store_as_fp8(denoiser_of(pipe), compute)
        else:
            store_as_int8(denoiser_of(pipe), compute, self._device)
        free_caches()
        return load_pipeline(load, **absent | _parts_of(pipe))

    def _set_loras(self, model: LoadedModel, load: Load) -> None:
        if model.load.loras or load.loras:
            self._check_loras(load)
            model.placement.attach_encoders()
            model.blocks.forget()
            remove_loras(model.pipe)
            with looking_full(denoiser_of(model.pipe), getattr(torch, load.compute_dtype)):
                apply_loras(model.pipe, load.loras, load.pipeline)
            finish_loras(model.pipe)
            if changeable_parts(type(model.pipe)) & set(ENCODERS):
                # A LoRA may change the text encoder.
                model.texts.forget()

    def _check_loras(self, load: Load) -> None:
        for lora in load.loras:
            verify_file(lora.name, lora.file, lora.identity, self._hashes)


def load_pipeline(load: Load, **given: Any) -> Any:
    """The pipeline of `load.folder` in host memory; safetensors and GGUF only, nothing is fetched, no code
    that comes with a model is run.

    `given` are components that are not read: loaded before, or None for one that is not needed now.
    Raises RenderError `load_error`.
    """
    import diffusers

    if load.quantisation not in ("none", *EIGHT_BITS) and load.gguf is None:
        raise RenderError("load_error", f"{load.model}: this node cannot load {load.quantisation} weights")
    family = getattr(diffusers, load.pipeline, None)
    if family is None:
        raise RenderError("load_error", f"diffusers {diffusers.__version__} has no {load.pipeline}")
    never = _NEVER.get(load.pipeline, {})
    # What is only not read now is checked like the rest.
    unread = {name for name, part in given.items() if part is not None} | never.keys()
    given |= never
    if load.gguf is not None:
        given["transformer"] = load_gguf(load, load.gguf.file)
        unread.add("transformer")
    check_weights(load.model, load.folder, unread=unread)
    pipe = _read(load, family, given)
    pipe.set_progress_bar_config(disable=True)
    _drop_heads(pipe)
    _decode_as_listed(pipe)
    return pipe


def _read(load: Load, family: Any, given: dict[str, Any]) -> Any:
    """The pipeline with the components `given`, and all others from the folder."""
    dtypes = _dtypes(load)
    try:
        given |= load_originals(load, dtypes, unread=given)
        if file := checkpoint_of(load.folder):
            text = dtypes.get("text_encoder", dtypes["default"])
            pipe = family.from_single_file(
                str(file), config=str(load.folder), dtype=text, local_files_only=True, **given
            )
            check_complete(load, file, pipe)
            return pipe
        return family.from_pretrained(
            str(load.folder), dtype=dtypes, use_safetensors=True, local_files_only=True, **given
        )
    except RenderError:
        raise
    except Exception as error:  # every library refuses in its own way
        if is_out_of_memory(error):
            raise
        why = first_line(error).rstrip(".")
        raise RenderError(
            "load_error",
            f"{load.model}: {load.folder} is not a valid {load.pipeline}: {why}; download the model again",
        ) from error


def _drop_heads(pipe: Any) -> None:
    """Texts are embedded by inner layers of language models: the weights that predict words are not needed,
    which are 1.2 GB of Qwen3 8B, and which files for ComfyUI lack."""
    for name in ENCODERS:
        if hasattr(getattr(pipe, name, None), "lm_head"):
            getattr(pipe, name).lm_head = torch.nn.Identity()


def _decode_as_listed(pipe: Any) -> None:
    """The VAE computes in the type of the recipe. SDXL's configuration asks for float32 instead of float16,
    also for a VAE in its place that does not overflow: that would take memory that nobody counted."""
    if getattr(pipe.vae, "config", {}).get("force_upcast"):
        pipe.vae.register_to_config(force_upcast=False)


def _unchanged_encoders(load: Load) -> set[str]:
    """Text encoders that no LoRA can change: they need not be there before a text is encoded."""
    import diffusers

    family = getattr(diffusers, load.pipeline, None)
    if family is None:
        return set()
    takes = inspect.signature(family.__init__).parameters
    return {part for part in ENCODERS if part in takes} - changeable_parts(family)


def _parts_of(pipe: Any) -> dict[str, Any]:
    """The components that the pipeline has."""
    return {name: part for name, part in pipe.components.items() if part is not None}


def _dtypes(load: Load) -> dict[str, torch.dtype]:
    """Torch dtype by component; what is to have 8 bits is read in 16."""
    compute = getattr(torch, load.compute_dtype)
    read = dict.fromkeys(EIGHT_BITS, torch.bfloat16)
    found = {part: read.get(name) or getattr(torch, name, compute) for part, name in load.weights.items()}
    return found | {"default": compute}


def _same_model(held: Load, wanted: Load) -> bool:
    """Whether only LoRAs and upscaler differ."""
    without = {"loras": (), "upscaler": None}
    return held.model_copy(update=without) == wanted.model_copy(update=without)
