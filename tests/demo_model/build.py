"""The empty pipeline: a Z-Image pipeline of about three million parameters, in the layout of the real one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen2Tokenizer, Qwen3Model

from tests.tiny import Z_IMAGE_VAE, qwen3, z_image_transformer

START, STOP, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

#: Lower case and one space before every word, so that a word is the same token wherever it stands.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '" + START + " ' + message['content'] | lower | trim }}{% endfor %}"
)

TEXT_WIDTH = 64


def new_vae() -> AutoencoderKL:
    """8 times smaller on each side, 16 channels: 128 px become 16 by 16."""
    return AutoencoderKL(
        **Z_IMAGE_VAE | {"block_out_channels": (16, 24, 32, 40)},
        latent_channels=16,
        sample_size=128,
        scaling_factor=1.0,
        shift_factor=0.0,
        force_upcast=False,
    )


def new_transformer() -> ZImageTransformer2DModel:
    axes: dict[str, Any] = {"axes_dims": [12, 12, 12], "axes_lens": [640, 64, 64]}
    return z_image_transformer(16, dim=144, layers=4, heads=4, text_width=TEXT_WIDTH, **axes)


def new_text_encoder(vocabulary: int) -> Qwen3Model:
    """Two layers, of which the pipeline reads the first (`hidden_states[-2]`)."""
    config = qwen3(vocabulary, width=TEXT_WIDTH, heads=4)
    config.tie_word_embeddings = True
    return Qwen3Model(config)


def new_tokenizer(words: Iterable[str]) -> Qwen2Tokenizer:
    """Each known word is one token; of an unknown word the longest known beginning, then bytes.

    Every merge extends a beginning by one letter, so no two merges compete and their order does not matter.
    """
    vocabulary = {token: at for at, token in enumerate((PAD, START, STOP))}
    for byte in _byte_letters():
        vocabulary[byte] = len(vocabulary)
    merges: list[tuple[str, str]] = []
    for word in sorted(set(words)):
        beginning = "Ġ"
        for letter in word:
            if beginning + letter not in vocabulary:
                vocabulary[beginning + letter] = len(vocabulary)
                merges.append((beginning, letter))
            beginning += letter
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, extra_special_tokens=[START, STOP])
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.model_max_length = 512
    return tokenizer


def new_scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.5)


def save(
    folder: Path,
    *,
    vae: AutoencoderKL,
    transformer: ZImageTransformer2DModel,
    text_encoder: Qwen3Model,
    tokenizer: Qwen2Tokenizer,
) -> None:
    """Write the pipeline as half-precision safetensors; its parts become half precision on the way."""
    vae.register_to_config(_name_or_path="")
    pipeline = ZImagePipeline(
        scheduler=new_scheduler(),
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        transformer=transformer.half(),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def save_vae(vae: AutoencoderKL, folder: Path) -> None:
    """Write the autoencoder in half precision, without the path it was last read from."""
    vae.register_to_config(_name_or_path="")
    vae.half().save_pretrained(folder)


def load(folder: Path) -> ZImagePipeline:
    pipeline = ZImagePipeline.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _byte_letters() -> list[str]:
    """The 256 letters that byte-level tokenizers write bytes as, in a fixed order."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())
