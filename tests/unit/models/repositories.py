"""Repositories as the hub has them, with weights that are only shapes."""

from __future__ import annotations

import json

from tests.unit.weights.files import safetensors_bytes

SDXL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
UNET = {
    "conv_in.weight": (8, 4, 3, 3),
    "time_embedding.linear_1.weight": (32, 8),
    "add_embedding.linear_1.weight": (32, 16),
    "conv_out.weight": (4, 8, 3, 3),
}
ENCODER = {"text_model.encoder.layers.0.self_attn.q_proj.weight": (40, 40)}
VAE = {"decoder.conv_in.weight": (64, 4, 3, 3), "decoder.mid_block.resnets.0.norm1.weight": (64,)}


def sdxl() -> dict[str, bytes]:
    """With everything beside the weights that the repository of SDXL has beside them."""
    parts = {"text_encoder": ENCODER, "text_encoder_2": ENCODER, "unet": UNET, "vae": VAE}
    stems = {"text_encoder": "model", "text_encoder_2": "model"}
    files = {
        "model_index.json": json.dumps(SDXL_INDEX).encode(),
        "README.md": b"# SDXL",
        "sd_xl_base.safetensors": b"x" * 5000,
    }
    for part, shapes in parts.items():
        stem, half = stems.get(part, "diffusion_pytorch_model"), safetensors_bytes(shapes)
        files |= {
            f"{part}/config.json": b'{"part": "%s"}' % part.encode(),
            f"{part}/{stem}.safetensors": half + bytes(len(half)),
            f"{part}/{stem}.fp16.safetensors": half,
            f"{part}/openvino_model.bin": b"o" * 3000,
            f"{part}/model.onnx": b"n" * 3000,
            f"{part}/flax_model.msgpack": b"f" * 3000,
        }
    for part in ("tokenizer", "tokenizer_2"):
        files |= {f"{part}/vocab.json": b"{}", f"{part}/merges.txt": b"a b"}
    return files | {
        "scheduler/scheduler_config.json": b"{}",
        "vae_1_0/diffusion_pytorch_model.safetensors": b"v" * 3000,
    }


def sd15() -> dict[str, bytes]:
    index = {key: value for key, value in SDXL_INDEX.items() if not key.endswith("_2")}
    index |= {"_class_name": "StableDiffusionPipeline", "safety_checker": ["stable_diffusion", "Checker"]}
    files = {path: content for path, content in sdxl().items() if "_2/" not in path}
    return files | {"model_index.json": json.dumps(index).encode()}


def sharded(files: dict[str, bytes], part: str, variant: str = "") -> dict[str, bytes]:
    """The same repository with the weights of a part in two files."""
    stem = "diffusion_pytorch_model"
    kept = {path: text for path, text in files.items() if not path.startswith(f"{part}/")}
    end = f".{variant}" if variant else ""
    names = [f"{stem}{end}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    halves = [dict(list(UNET.items())[:2]), dict(list(UNET.items())[2:])]
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {key: name for name, half in zip(names, halves, strict=True) for key in half},
    }
    return (
        kept
        | {f"{part}/{name}": safetensors_bytes(half) for name, half in zip(names, halves, strict=True)}
        | {f"{part}/{stem}.safetensors.index{end}.json": json.dumps(index).encode()}
        | {f"{part}/config.json": b"{}"}
    )
