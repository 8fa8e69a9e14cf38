"""A LoRA changes the denoiser and the text encoders of a real pipeline, each by its own weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import ask, engine_lora, load_command, pixels, render, shot

#: Layers of the tiny pipelines with their inputs and outputs, by part.
LAYERS = {
    "unet": "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q",
    "text_encoder": "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
    "text_encoder_2": "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj",
}
WIDTHS = {"unet": 32, "text_encoder": 32, "text_encoder_2": 64}


def lora(file: Path, *parts: str) -> Path:
    """Changes a layer of each part, always by the same values."""
    tensors = {}
    for part in parts:
        torch.manual_seed(len(part))
        tensors[f"{LAYERS[part]}.lora_A.weight"] = torch.randn(2, WIDTHS[part])
        tensors[f"{LAYERS[part]}.lora_B.weight"] = torch.randn(WIDTHS[part], 2)
    save_file(tensors, str(file))
    return file


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_each_part_has_its_own_weight(
    engine: EngineClient, twin_of: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    folder = twin_of(family)
    texts = ["text_encoder", *["text_encoder_2"] * (family == "sdxl")]
    whole = lora(tmp_path / "whole.safetensors", "unet", *texts)
    pipeline = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}[family]

    def picture(file: Path, weight: float, text_weight: float | None = None) -> bytes:
        used = engine_lora(file, weight=weight).model_copy(update={"text_weight": text_weight})
        command = load_command(
            folder, pipeline=pipeline, max_tokens=900, guided_above=1.0, weights={}, loras=(used,)
        )
        ask(engine, command)
        one = shot(seed=6, steps=2, sampler="euler", guidance=3.0)
        return pixels(render(engine, one)[one.id])

    denoiser = picture(lora(tmp_path / "denoiser.safetensors", "unet"), 0.8)
    text = picture(lora(tmp_path / "text.safetensors", *texts), 0.5)
    both = picture(whole, 0.8)
    assert picture(whole, 0.8, 0.0) == denoiser
    assert picture(whole, 0.0, 0.5) == text
    assert picture(whole, 0.8, 0.8) == both
    assert len({denoiser, text, both, picture(whole, 0.8, 0.5)}) == 4
