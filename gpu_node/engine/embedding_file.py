"""Files of embeddings: safetensors, whose metadata is the key and the SHA-256 of the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from common.embeddings import tensors_sha256

#: Pipeline argument to embedding of one text.
Embeddings = dict[str, torch.Tensor]
#: By pipeline argument; None stands for the tokens, which are as many in all of them.
Shapes = Mapping[str, tuple[int | None, ...]]


class Unfit(Exception):
    """The model cannot take the embedding; the message says why."""


def write_embeddings(file: Path, embeddings: Embeddings) -> None:
    """Write a file whose stem is the key. A reader never meets half of it. Raises OSError."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in embeddings.items()}
    metadata = {"key": file.stem, "sha256": tensors_sha256(save(tensors))}
    part = file.with_suffix(".part")
    try:
        part.write_bytes(save(tensors, metadata))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read_embeddings(file: Path, shapes: Shapes) -> Embeddings:
    """The embeddings of a text, in host memory. Raises Unfit unless they are numbers of these shapes."""
    try:
        found: Embeddings = load_file(str(file))
    except (SafetensorError, OSError) as error:
        raise Unfit(f"it cannot be read ({error})") from None
    if found.keys() != shapes.keys():
        raise Unfit(f"it has {', '.join(sorted(found)) or 'nothing'} instead of {', '.join(sorted(shapes))}")
    tokens = set()
    for name, shape in shapes.items():
        here = tuple(found[name].shape)
        fits = len(here) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, here, strict=True)
        )
        if not fits:
            raise Unfit(f"its {name} has shape {list(here)}")
        tokens |= {size for wanted, size in zip(shape, here, strict=True) if wanted is None}
        if found[name].is_floating_point() and not found[name].isfinite().all():
            raise Unfit(f"its {name} has values that are no numbers")
    if len(tokens) != 1 or tokens == {0}:
        raise Unfit("its numbers of tokens differ")
    return found
