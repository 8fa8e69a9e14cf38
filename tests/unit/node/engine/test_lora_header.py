"""The header of a LoRA file tells which models it can be for."""

from __future__ import annotations

import pytest

from gpu_node.engine.loras import meant_for

SD, SDXL, Z = "StableDiffusionPipeline", "StableDiffusionXLPipeline", "ZImagePipeline"
FLUX = {"FluxPipeline", "Flux2Pipeline", "Flux2KleinPipeline"}
CROSS = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.mark.parametrize(
    ("shapes", "metadata", "pipelines"),
    [
        ({}, {"ss_base_model_version": "sd_v1"}, {SD}),
        ({}, {"ss_base_model_version": "sdxl_base_v1-0"}, {SDXL}),
        ({}, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, {SDXL}),
        ({}, {"modelspec.architecture": "Flux.1-dev/lora"}, FLUX),
        ({f"{CROSS}.lora_A.weight": (4, 768)}, {}, {SD}),
        ({f"{CROSS}.lora_A.weight": (4, 2048)}, {}, {SDXL}),
        ({f"{CROSS}.lora_A.weight": (4, 32)}, {}, {SD, SDXL}),
        ({"lora_unet_down_blocks_0_attn2_to_k.lora_down.weight": (4, 768)}, {}, {SD}),
        ({"transformer.context_refiner.0.attention.to_q.lora_A.weight": (4, 3840)}, {}, {Z}),
        ({"diffusion_model.layers.7.attention.to_q.lora_A.weight": (4, 3840)}, {}, {Z}),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}, {}, FLUX),
        ({"something.else.lora_A.weight": (4, 4)}, {}, set()),
    ],
)
def test_metadata_first_then_keys_and_shapes(
    shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], pipelines: set[str]
) -> None:
    assert meant_for(shapes, metadata) == pipelines
