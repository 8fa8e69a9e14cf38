"""The denoiser's objective, computed for a whole batch at once.

`ZImageTransformer2DModel.forward` walks through lists of single pictures; `velocity` gives the same numbers
for pictures of one size with captions of one padded length, faster. A test holds them equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ZImageTransformer2DModel
from torch import Tensor
from torch.nn import functional
from transformers import Qwen2Tokenizer, Qwen3Model

PATCH = "2-1"


def tokenise(tokenizer: Qwen2Tokenizer, captions: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """Token ids and which of them are real, (N, length), templated as the pipeline does it."""
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": caption}], tokenize=False)
        for caption in captions
    ]
    batch = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return batch.input_ids, batch.attention_mask.bool()


def features(text_encoder: Qwen3Model, ids: Tensor, real: Tensor) -> Tensor:
    """What the pipeline hands to the transformer, padding included."""
    states: Tensor = text_encoder(
        input_ids=ids, attention_mask=real, output_hidden_states=True
    ).hidden_states[-2]
    return states


def velocity(
    transformer: ZImageTransformer2DModel, latents: Tensor, t: Tensor, caption: Tensor, real: Tensor
) -> Tensor:
    """The predicted way from noise to picture at times `t` (1 is the finished picture)."""
    count, channels, height, width = latents.shape
    rows, columns, words = height // 2, width // 2, caption.shape[1]
    time = transformer.t_embedder(t * transformer.t_scale)
    turns = _positions(transformer, rows, columns, words)
    image_turns, word_turns = turns[:, : rows * columns], turns[:, rows * columns :]

    patches = (
        latents.view(count, channels, rows, 2, columns, 2).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
    )
    image = transformer.all_x_embedder[PATCH](patches)
    for layer in transformer.noise_refiner:
        image = layer(image, None, image_turns, time)
    text = torch.where(real[..., None], transformer.cap_embedder(caption), transformer.cap_pad_token)
    for layer in transformer.context_refiner:
        text = layer(text, None, word_turns)
    both = torch.cat([image, text], dim=1)
    for layer in transformer.layers:
        both = layer(both, None, turns, time)
    patches = transformer.all_final_layer[PATCH](both[:, : rows * columns], c=time)
    unfolded: Tensor = patches.view(count, rows, columns, 2, 2, channels).permute(0, 5, 1, 3, 2, 4)
    return unfolded.reshape(count, channels, height, width)


def sigmas(count: int, centre: float = 0.4) -> Tensor:
    """Noise levels to train at: logit-normal, a little towards noise, where the shapes are decided."""
    return torch.sigmoid(centre + 1.1 * torch.randn(count))


def noised(latents: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Latents mixed with noise, and the velocity that leads back."""
    noise = torch.randn_like(latents)
    level = sigma[:, None, None, None]
    return (1 - level) * latents + level * noise, latents - noise


def loss(transformer: ZImageTransformer2DModel, latents: Tensor, caption: Tensor, real: Tensor) -> Tensor:
    sigma = sigmas(len(latents))
    mixed, target = noised(latents, sigma)
    return functional.mse_loss(velocity(transformer, mixed, 1 - sigma, caption, real), target)


def _positions(transformer: ZImageTransformer2DModel, rows: int, columns: int, words: int) -> Tensor:
    grid = transformer.create_coordinate_grid
    image = grid((1, rows, columns), (words + 1, 0, 0)).flatten(0, 2)
    text = grid((words, 1, 1), (1, 0, 0)).flatten(0, 2)
    turns: Tensor = transformer.rope_embedder(torch.cat([image, text]))
    return turns[None]
