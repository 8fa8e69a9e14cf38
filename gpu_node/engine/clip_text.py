"""Prompts of Stable Diffusion: chunks of 75 tokens with weights, read by one CLIP text encoder or by two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import lcm
from typing import Any

import torch

from common.prompt_chunks import CHUNK, COMMA, WeightedToken, padded_count, prompt_chunks
from common.textual_inversions import with_vectors
from gpu_node.engine.inversions import NO_INVERSIONS, Inversions

Chunk = Sequence[WeightedToken]


def clip_chunks(
    tokenizer: Any, text: str, inversions: Inversions = NO_INVERSIONS
) -> list[list[WeightedToken]]:
    ids_of = with_vectors(lambda part: tokenizer(part, add_special_tokens=False).input_ids, inversions.ids)
    return prompt_chunks(text, ids_of, tokenizer.convert_tokens_to_ids(COMMA))


def encode_sd15(
    pipe: Any, text: str, device: str, clip_skip: int, inversions: Inversions = NO_INVERSIONS
) -> torch.Tensor:
    """The embeddings of all chunks in a row; `clip_skip` 1 or 0 reads the last layer, 2 the one before."""

    def layer(outputs: Any) -> Any:
        if clip_skip <= 1:
            return outputs.last_hidden_state
        return pipe.text_encoder.final_layer_norm(outputs.hidden_states[-clip_skip])

    chunks = clip_chunks(pipe.tokenizer, text, inversions)
    reader = _Reader(pipe.tokenizer, pipe.text_encoder, device, inversions, 0)
    return _encoded(reader, chunks, layer)[0]


def encode_sdxl(
    pipe: Any, text: str, device: str, clip_skip: int, inversions: Inversions = NO_INVERSIONS
) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings by both encoders side by side, and those of the whole first chunk by the second.

    `clip_skip` counts as in `encode_sd15`, but 0 reads the layer before the last, as SDXL was trained.
    """
    pairs = ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2))
    # Both have one vocabulary; should they differ, empty chunks keep the embeddings side by side.
    cut = (clip_chunks(tokenizer, text, inversions) for tokenizer, _ in pairs)
    both = [*zip_longest(*cut, fillvalue=())]
    found = [
        _encoded(
            _Reader(*pair, device, inversions, at),
            [chunks[at] for chunks in both],
            lambda said: said.hidden_states[-(clip_skip or 2)],
        )
        for at, pair in enumerate(pairs)
    ]
    return torch.cat([embeddings for embeddings, _ in found], dim=-1), found[1][1].text_embeds


def repeated(texts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Embeddings of several texts, those with fewer chunks repeated until all are equally long.

    The denoiser attends to a text that is said twice as to one that is said once, so no picture depends on
    the length of the prompts beside it.
    """
    length = lcm(*(text.shape[1] for text in texts))
    return [torch.cat([text] * (length // text.shape[1]), dim=1) for text in texts]


@dataclass(frozen=True)
class _Reader:
    """One text encoder with its tokenizer."""

    tokenizer: Any
    encoder: Any
    device: str
    inversions: Inversions
    #: Number of the encoder, among those of the pipeline.
    at: int

    def __call__(self, chunk: Chunk) -> Any:
        with self.inversions.placed(self.at, self.encoder, chunk):
            return self.encoder(_ids(self.tokenizer, chunk).to(self.device), output_hidden_states=True)


def _encoded(read: _Reader, chunks: Sequence[Chunk], layer: Callable[[Any], Any]) -> tuple[torch.Tensor, Any]:
    """The embeddings of the chunks and of empty ones behind them, and what the encoder said of the first.

    A weight stretches the way of a token from its place in an empty prompt, as in ComfyUI.
    """
    said = [read(chunk) for chunk in chunks or [()]]
    found = [layer(each) for each in said]
    missing = padded_count(len(chunks)) - len(found)
    if missing or any(token.weight != 1 for chunk in chunks for token in chunk):
        empty = layer(read(()))
        stretched = zip(found, chunks, strict=True)
        found = [torch.lerp(empty, each, _weights(chunk).to(each)) for each, chunk in stretched]
        found += [empty] * missing
    return torch.cat(found, dim=1), said[0]


def _ids(tokenizer: Any, chunk: Chunk) -> torch.Tensor:
    """The tokens as the tokenizer itself begins, ends and pads them; any one holds the place of a vector."""
    ids = [tokenizer.bos_token_id, *(max(token.id, 0) for token in chunk), tokenizer.eos_token_id]
    return torch.tensor([ids + [tokenizer.pad_token_id] * (CHUNK - len(chunk))])


def _weights(chunk: Chunk) -> torch.Tensor:
    weights = [1.0, *(token.weight for token in chunk), 1.0]
    return torch.tensor(weights + [1.0] * (CHUNK - len(chunk))).view(1, -1, 1)
