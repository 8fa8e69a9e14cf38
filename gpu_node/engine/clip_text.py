"""Prompts of Stable Diffusion: chunks of 75 tokens with weights, read by one CLIP text encoder or by two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from math import lcm
from typing import Any

import torch

from common.prompt_chunks import CHUNK, COMMA, WeightedToken, padded_count, prompt_chunks

Chunk = Sequence[WeightedToken]


def clip_chunks(tokenizer: Any, text: str) -> list[list[WeightedToken]]:
    return prompt_chunks(
        text,
        lambda part: tokenizer(part, add_special_tokens=False).input_ids,
        tokenizer.convert_tokens_to_ids(COMMA),
    )


def encode_sd15(pipe: Any, text: str, device: str, clip_skip: int) -> torch.Tensor:
    """The embeddings of all chunks in a row; `clip_skip` 1 or 0 reads the last layer, 2 the one before."""

    def layer(outputs: Any) -> Any:
        if clip_skip <= 1:
            return outputs.last_hidden_state
        return pipe.text_encoder.final_layer_norm(outputs.hidden_states[-clip_skip])

    chunks = clip_chunks(pipe.tokenizer, text)
    return _encoded(pipe.tokenizer, pipe.text_encoder, chunks, layer, device)[0]


def encode_sdxl(pipe: Any, text: str, device: str, clip_skip: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings by both encoders side by side, and those of the whole first chunk by the second.

    `clip_skip` counts as in `encode_sd15`, but 0 reads the layer before the last, as SDXL was trained.
    """
    pairs = ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2))
    # Both have one vocabulary; should they differ, empty chunks keep the embeddings side by side.
    both = [*zip_longest(*(clip_chunks(tokenizer, text) for tokenizer, _ in pairs), fillvalue=())]
    found = [
        _encoded(
            *pair, [chunks[at] for chunks in both], lambda said: said.hidden_states[-(clip_skip or 2)], device
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


def _encoded(
    tokenizer: Any, encoder: Any, chunks: Sequence[Chunk], layer: Callable[[Any], Any], device: str
) -> tuple[torch.Tensor, Any]:
    """The embeddings of the chunks and of empty ones behind them, and what the encoder said of the first.

    A weight stretches the way of a token from its place in an empty prompt, as in ComfyUI.
    """

    def read(chunk: Chunk) -> Any:
        return encoder(_ids(tokenizer, chunk).to(device), output_hidden_states=True)

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
    """The tokens as the tokenizer itself begins, ends and pads them."""
    ids = [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id]
    return torch.tensor([ids + [tokenizer.pad_token_id] * (CHUNK - len(chunk))])


def _weights(chunk: Chunk) -> torch.Tensor:
    weights = [1.0, *(token.weight for token in chunk), 1.0]
    return torch.tensor(weights + [1.0] * (CHUNK - len(chunk))).view(1, -1, 1)
