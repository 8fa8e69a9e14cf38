"""From a lease to what its engine is told: the model to hold, the texts to encode, the passes to render."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.embeddings import EmbeddedText, texts_of
from common.messages import Lease
from common.shot import InversionUse, LoraUse, Shot, UpscalerUse
from gpu_node import protocol
from gpu_node.errors import RenderError
from gpu_node.library import FileUse, Library


@dataclass(frozen=True, slots=True)
class BatchShot:
    """One shot of a batch."""

    id: str
    shot: Shot


def shots_of(lease: Lease) -> list[BatchShot]:
    return [BatchShot(one.id, Shot.from_dict(one.spec)) for one in lease.shots]


def load_command(name: str, recipe_name: str, first: Shot, library: Library) -> protocol.Load:
    """What the engine must hold of a model; `first` is any shot of the batch, they share LoRAs and upscaler.

    Raises RenderError `model_missing` where this node lacks files or its catalog lacks the entry.
    """
    model = library.catalog.models.get(name)
    folder = library.model_folder(name)
    if model is None or folder is None:
        raise RenderError("model_missing", f"model {name} is not on this node; see `farm-node doctor`")
    try:
        recipe = model.recipe(recipe_name)
    except KeyError:
        message = f"the catalog of this node has no recipe {recipe_name} for {name}"
        raise RenderError("load_error", message) from None
    return protocol.Load(
        model=name,
        folder=folder,
        identity=first.model_identity or None,
        pipeline=model.family.pipeline,
        max_tokens=model.family.max_tokens,
        tokenizer=model.family.tokenizer,
        guided_above=model.family.guidance_doubles_above,
        recipe=recipe.name,
        compute_dtype=recipe.compute_dtype,
        weights=recipe.weights,
        quantisation=recipe.quantisation,
        gguf=library.gguf_file(model, recipe),
        placement=recipe.placement,
        loras=tuple(_engine_lora(use, library) for use in first.loras),
        upscaler=_engine_upscaler(first.upscaler, library) if first.upscaler else None,
    )


def texts_of_batch(batch: Sequence[BatchShot], load: protocol.Load) -> list[EmbeddedText]:
    """Every distinct text of the batch."""
    return texts_of((one.shot for one in batch), load.guided_above)


def encode_command(
    texts: Iterable[EmbeddedText],
    inversions: Iterable[protocol.EngineInversion] = (),
    files: Mapping[EmbeddedText, Path] | None = None,
    *,
    ahead: Mapping[EmbeddedText, Path] | None = None,
    ahead_s: float = 0.0,
    threads: int | None = None,
) -> protocol.Encode:
    """Embed these texts, which name the `inversions`; `files` are those of their embeddings.

    Those of texts to be encoded `ahead`, for `ahead_s` seconds at most, are only written.
    """
    found = files or {}
    return protocol.Encode(
        threads=threads,
        texts=tuple(protocol.EngineText(**text._asdict(), file=found.get(text)) for text in texts),
        inversions=tuple(inversions),
        ahead=tuple(protocol.EngineText(**text._asdict(), file=file) for text, file in (ahead or {}).items()),
        ahead_s=ahead_s,
    )


def inversions_of(batch: Sequence[BatchShot]) -> tuple[InversionUse, ...]:
    return tuple(dict.fromkeys(use for one in batch for use in one.shot.inversions))


def uses_of(batch: Sequence[BatchShot]) -> tuple[FileUse, ...]:
    """All files that shots of the batch name with their identities."""
    upscalers = dict.fromkeys(one.shot.upscaler for one in batch if one.shot.upscaler)
    return (*inversions_of(batch), *upscalers)


def passes(batch: Sequence[BatchShot], pass_size: int) -> Iterator[list[BatchShot]]:
    """The batch in its order, cut into passes of shots that one pipeline call can render together."""
    waiting = list(batch)
    while waiting:
        alike = [one for one in waiting if one.shot.call == waiting[0].shot.call][:pass_size]
        yield alike
        taken = {one.id for one in alike}
        waiting = [one for one in waiting if one.id not in taken]


def render_command(one_pass: Sequence[BatchShot], *, compiled: bool = False) -> protocol.Render:
    shots = tuple(protocol.EngineShot(id=one.id, spec=one.shot.to_dict()) for one in one_pass)
    return protocol.Render(shots=shots, compiled=compiled)


def engine_inversions(batch: Sequence[BatchShot], library: Library) -> list[protocol.EngineInversion]:
    """All textual inversions that texts of the batch name.

    Raises RenderError `model_missing` where this node lacks the file of one.
    """
    return [_engine_inversion(use, library) for use in inversions_of(batch)]


def _engine_inversion(use: InversionUse, library: Library) -> protocol.EngineInversion:
    file = library.used_file(use)
    if file is None:
        raise RenderError("model_missing", f"textual inversion {use.name} is not on this node")
    return protocol.EngineInversion(name=use.name, identity=use.identity, file=file)


def _engine_upscaler(use: UpscalerUse, library: Library) -> protocol.EngineUpscaler:
    file = library.used_file(use)
    if file is None:
        raise RenderError("model_missing", f"upscaler {use.name} is not on this node", name=use.name)
    return protocol.EngineUpscaler(name=use.name, file=file, identity=use.identity, scale=use.scale)


def _engine_lora(use: LoraUse, library: Library) -> protocol.EngineLora:
    file = library.lora_file(use.name)
    if file is None:
        raise RenderError("model_missing", f"LoRA {use.name} is not on this node; see `farm-node doctor`")
    return protocol.EngineLora(
        name=use.name,
        file=file,
        identity=use.identity or None,
        weight=use.weight,
        text_weight=use.text_weight,
    )
