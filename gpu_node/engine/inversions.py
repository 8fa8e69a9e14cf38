"""Textual inversions: vectors that take the place of token embeddings while CLIP reads a text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from common.prompt_chunks import WeightedToken
from common.textual_inversions import vector_ids
from common.weights.textual_inversion import SDXL_KEYS
from gpu_node.errors import RenderError


@dataclass(frozen=True)
class Inversions:
    """Those that a text names, for the text encoders of one pipeline."""

    #: Name to the tokens that stand for its vectors.
    ids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    #: For each encoder, such a token to its vector.
    vectors: Sequence[Mapping[int, torch.Tensor]] = ()

    @contextmanager
    def placed(self, at: int, encoder: Any, chunk: Sequence[WeightedToken]) -> Iterator[None]:
        """While inside, the encoder of this number reads the vectors of the chunk at their places."""
        places = {place: token.id for place, token in enumerate(chunk, start=1) if token.id < 0}
        if not places:
            yield
            return

        def put(_module: Any, _ids: Any, embedded: torch.Tensor) -> torch.Tensor:
            embedded = embedded.clone()
            for place, token in places.items():
                embedded[:, place] = self.vectors[at][token].to(embedded)
            return embedded

        hook = encoder.get_input_embeddings().register_forward_hook(put)
        try:
            yield
        finally:
            hook.remove()


NO_INVERSIONS = Inversions()


def load_inversions(files: Mapping[tuple[str, str], Path], encoders: Sequence[Any]) -> Inversions:
    """Of files by name and identity.

    Raises RenderError `model_missing` or `model_mismatch` for a file that is not what its identity says, and
    `inversion_rejected` for vectors that the encoders do not read.
    """
    read = {name: _vectors(name, identity, file, encoders) for (name, identity), file in files.items()}
    ids = vector_ids({name: len(found[0]) for name, found in read.items()})
    vectors = [
        {token: row for name in read for token, row in zip(ids[name], read[name][at], strict=True)}
        for at in range(len(encoders))
    ]
    return Inversions(ids, vectors)


def _vectors(name: str, identity: str, file: Path, encoders: Sequence[Any]) -> list[torch.Tensor]:
    """For each encoder, a tensor of (number of vectors, width)."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RenderError("model_missing", f"{name}: {file} cannot be read: {error.strerror}") from None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != identity:
        raise RenderError("model_mismatch", f"{name}: {file} is another file than that of {identity[:19]}…")
    tensors = load(data)
    keys = SDXL_KEYS if len(encoders) > 1 else tuple(tensors)[:1]
    found = [tensors[key].reshape(-1, tensors[key].shape[-1]) for key in keys if key in tensors]
    widths = [encoder.get_input_embeddings().embedding_dim for encoder in encoders]
    if len(tensors) != len(encoders) or [tensor.shape[-1] for tensor in found] != widths:
        read = " and ".join(str(width) for width in widths)
        has = " and ".join(str(tensors[key].shape[-1]) for key in sorted(tensors))
        raise RenderError(
            "inversion_rejected",
            f"textual inversion {name} has vectors of {has} values, the model reads {read}; use one of its "
            "family",
        )
    return found
