"""The tiny pipelines as others publish models: one checkpoint, or ComfyUI's separate files.

Names of the training code of Stable Diffusion, SDXL and Z-Image, from those of diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
_UNET = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    # One layer a block and two blocks.
    "down_blocks.0.resnets.0.": "input_blocks.1.0.",
    "down_blocks.0.downsamplers.0.conv.": "input_blocks.2.0.op.",
    "down_blocks.1.resnets.0.": "input_blocks.3.0.",
    "down_blocks.1.attentions.0.": "input_blocks.3.1.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
    "up_blocks.0.resnets.0.": "output_blocks.0.0.",
    "up_blocks.0.attentions.0.": "output_blocks.0.1.",
    "up_blocks.0.resnets.1.": "output_blocks.1.0.",
    "up_blocks.0.attentions.1.": "output_blocks.1.1.",
    "up_blocks.0.upsamplers.0.": "output_blocks.1.2.",
    "up_blocks.1.resnets.0.": "output_blocks.2.0.",
    "up_blocks.1.resnets.1.": "output_blocks.3.0.",
}
_VAE = {
    "mid_block.resnets.0.": "mid.block_1.",
    "mid_block.resnets.1.": "mid.block_2.",
    "mid_block.attentions.0.group_norm.": "mid.attn_1.norm.",
    "mid_block.attentions.0.to_q.": "mid.attn_1.q.",
    "mid_block.attentions.0.to_k.": "mid.attn_1.k.",
    "mid_block.attentions.0.to_v.": "mid.attn_1.v.",
    "mid_block.attentions.0.to_out.0.": "mid.attn_1.proj_out.",
    "conv_norm_out.": "norm_out.",
    "conv_shortcut.": "nin_shortcut.",
    ".downsamplers.0.": ".downsample.",
    ".upsamplers.0.": ".upsample.",
    ".resnets.": ".block.",
}
_OPEN_CLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.out_proj.": ".attn.out_proj.",
}

_FLUX2 = {
    "x_embedder.": "img_in.",
    "context_embedder.": "txt_in.",
    "time_guidance_embed.timestep_embedder.linear_1.": "time_in.in_layer.",
    "time_guidance_embed.timestep_embedder.linear_2.": "time_in.out_layer.",
    "_stream_modulation_img.linear.": "_stream_modulation_img.lin.",
    "_stream_modulation_txt.linear.": "_stream_modulation_txt.lin.",
    "single_stream_modulation.linear.": "single_stream_modulation.lin.",
    "proj_out.": "final_layer.linear.",
    "norm_out.linear.": "final_layer.adaLN_modulation.1.",
    "single_transformer_blocks.": "single_blocks.",
    "transformer_blocks.": "double_blocks.",
    ".attn.to_qkv_mlp_proj.": ".linear1.",
    ".attn.to_out.0.": ".img_attn.proj.",
    ".attn.to_out.": ".linear2.",
    ".attn.to_add_out.": ".txt_attn.proj.",
    ".attn.norm_added_q.weight": ".txt_attn.norm.query_norm.scale",
    ".attn.norm_added_k.weight": ".txt_attn.norm.key_norm.scale",
    ".ff_context.linear_in.": ".txt_mlp.0.",
    ".ff_context.linear_out.": ".txt_mlp.2.",
    ".ff.linear_in.": ".img_mlp.0.",
    ".ff.linear_out.": ".img_mlp.2.",
}
#: Of FLUX.2: three matrices that are one in the original, by the first of them.
_JOINED = {
    "attn.to_q.": (("attn.to_q.", "attn.to_k.", "attn.to_v."), "img_attn.qkv."),
    "attn.add_q_proj.": (("attn.add_q_proj.", "attn.add_k_proj.", "attn.add_v_proj."), "txt_attn.qkv."),
}


def save_klein_denoiser(file: Path, pipeline: Path, prefix: str = "") -> Path:
    """The transformer of a tiny FLUX.2 klein pipeline alone."""
    return _save(file, _below(prefix, _flux2(_weights(pipeline / "transformer"))))


def save_klein_files(folder: Path, pipeline: Path) -> list[Path]:
    """Denoiser and text encoder of a tiny FLUX.2 klein pipeline as ComfyUI's guide names them.

    The text encoder has no weights that predict words.
    """
    encoder = {
        key: tensor for key, tensor in _weights(pipeline / "text_encoder").items() if "lm_head" not in key
    }
    return [
        save_klein_denoiser(folder / "diffusion_models" / "flux-2-klein-9b.safetensors", pipeline),
        _save(folder / "text_encoders" / "qwen_3_8b.safetensors", encoder),
    ]


def save_flux1_files(folder: Path, pipeline: Path) -> list[Path]:
    """Denoiser, both text encoders and VAE of a tiny FLUX.1 pipeline as ComfyUI's guide names them.

    The denoiser keeps the names of diffusers, which converts others only at the real width.
    """
    return [
        _save(folder / "diffusion_models" / "flux1.safetensors", _weights(pipeline / "transformer")),
        _save(
            folder / "text_encoders" / "clip_l.safetensors", _text_model(_weights(pipeline / "text_encoder"))
        ),
        _save(folder / "text_encoders" / "t5xxl_fp16.safetensors", _weights(pipeline / "text_encoder_2")),
        _save(folder / "vae" / "ae.safetensors", _vae(_weights(pipeline / "vae"))),
    ]


def save_chroma_files(folder: Path, pipeline: Path) -> list[Path]:
    """Denoiser, text encoder and VAE of a tiny Chroma pipeline as ComfyUI's guide names them.

    The denoiser keeps the names of diffusers, which converts others only at the real number of blocks.
    """
    return [
        _save(folder / "diffusion_models" / "chroma.safetensors", _weights(pipeline / "transformer")),
        _save(folder / "text_encoders" / "t5xxl_fp16.safetensors", _weights(pipeline / "text_encoder")),
        _save(folder / "vae" / "ae.safetensors", _vae(_weights(pipeline / "vae"))),
    ]


def save_all_in_one(file: Path, parts: Sequence[Path]) -> Path:
    """The checkpoint that ComfyUI saves of separate files in folders with the names that it uses."""
    from safetensors.torch import load_file

    denoiser, whole = "model.diffusion_model.", {}
    for part in parts:
        encoder = f"text_encoders.{part.stem.replace('.', '_')}.transformer."
        prefix = {"diffusion_models": denoiser, "vae": "vae.", "text_encoders": encoder}[part.parent.name]
        plain = {key.removeprefix(denoiser): tensor for key, tensor in load_file(str(part)).items()}
        whole |= _below(prefix, plain)
    return _save(file, whole)


def save_qwen_image_files(folder: Path, pipeline: Path) -> list[Path]:
    """Denoiser and text encoder of a tiny Qwen-Image pipeline as ComfyUI's guide names them.

    The training code and diffusers name the tensors alike.
    """
    denoiser = _below("model.diffusion_model.", _weights(pipeline / "transformer"))
    return [
        _save(folder / "diffusion_models" / "qwen_image.safetensors", denoiser),
        _save(folder / "text_encoders" / "qwen_2.5_vl_7b.safetensors", _weights(pipeline / "text_encoder")),
    ]


def save_checkpoint(file: Path, folder: Path) -> Path:
    """All weights of a tiny SD 1.5 or SDXL pipeline in one file."""
    unet = _below("model.diffusion_model.", _unet(_weights(folder / "unet")))
    vae = _below("first_stage_model.", _vae(_weights(folder / "vae")))
    first = _text_model(_weights(folder / "text_encoder"))
    if (folder / "text_encoder_2").is_dir():
        second = _open_clip(_text_model(_weights(folder / "text_encoder_2")))
        texts = _below("conditioner.embedders.0.transformer.", first)
        texts |= _below("conditioner.embedders.1.model.", second)
    else:
        texts = _below("cond_stage_model.transformer.", first)
    return _save(file, unet | vae | texts)


def save_separate_files(folder: Path, pipeline: Path) -> list[Path]:
    """Denoiser, text encoder and VAE of a tiny Z-Image pipeline as ComfyUI's guide names them."""
    from tests.tiny import with_original_names

    return [
        _save(
            folder / "diffusion_models" / "z_image.safetensors",
            with_original_names(_weights(pipeline / "transformer")),
        ),
        _save(folder / "text_encoders" / "qwen_3.safetensors", _weights(pipeline / "text_encoder")),
        _save(folder / "vae" / "ae.safetensors", _vae(_weights(pipeline / "vae"))),
    ]


def _weights(part: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {
        key: tensor for file in part.glob("*.safetensors") for key, tensor in load_file(str(file)).items()
    }


def _save(file: Path, tensors: Mapping[str, Any]) -> Path:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, str(file))
    return file


def _below(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + key: tensor for key, tensor in tensors.items()}


def _replaced(name: str, table: Mapping[str, str]) -> str:
    for ours, theirs in table.items():
        name = name.replace(ours, theirs)
    return name


def _unet(tensors: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {}
    for key, tensor in tensors.items():
        start = next(start for start in _UNET if key.startswith(start))
        rest = key[len(start) :]
        if ".resnets." in start:
            rest = next(
                theirs + rest[len(ours) :] for ours, theirs in _RESNET.items() if rest.startswith(ours)
            )
        renamed[_UNET[start] + rest] = tensor
    return renamed


def _flux2(tensors: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    renamed = {}
    for key, tensor in tensors.items():
        if re.search(r"attn\.(?:to|add)_[kv](?:_proj)?\.", key):
            continue
        name, value = key, tensor
        for first, (parts, joined) in _JOINED.items():
            if first in key:
                name = key.replace(first, joined)
                value = torch.cat([tensors[key.replace(first, part)] for part in parts])
        if key.startswith("norm_out."):
            scale, shift = tensor.chunk(2)
            value = torch.cat([shift, scale])
        name = _replaced(name, _FLUX2)
        block = "" if name.startswith("single_blocks.") else ".img_attn"
        name = re.sub(r"\.attn\.norm_q\.weight$", rf"{block}.norm.query_norm.scale", name)
        renamed[re.sub(r"\.attn\.norm_k\.weight$", rf"{block}.norm.key_norm.scale", name)] = value
    return renamed


def _vae(tensors: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {}
    for key, tensor in tensors.items():
        name = _replaced(key, _VAE)
        name = re.sub(r"down_blocks\.(\d)", r"down.\1", name)
        # The decoder's blocks are counted from the picture.
        name = re.sub(r"up_blocks\.(\d)", lambda found: f"up.{3 - int(found[1])}", name)
        is_matrix = ".attn_1." in name and name.endswith("weight") and tensor.dim() == 2
        renamed[name] = tensor[:, :, None, None] if is_matrix else tensor
    return renamed


def _text_model(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """transformers leaves the prefix out, depending on its version and the class."""
    plain = {key.removeprefix("text_model."): tensor for key, tensor in tensors.items()}
    return {key if key.startswith("text_projection") else f"text_model.{key}": t for key, t in plain.items()}


def _open_clip(tensors: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    renamed = {}
    for key, tensor in tensors.items():
        name = _replaced(key, _OPEN_CLIP)
        if key == "text_projection.weight":
            renamed["text_projection"] = tensor.T
        elif found := re.search(r"\.self_attn\.q_proj\.(weight|bias)$", key):
            joined = [tensors[key.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            name = name.replace(f".self_attn.q_proj.{found[1]}", f".attn.in_proj_{found[1]}")
            renamed[name] = torch.cat(joined)
        elif not re.search(r"\.self_attn\.[kv]_proj\.", key):
            renamed[name] = tensor
    return renamed


def save_vae(file: Path, pipeline: Path, *, original: bool) -> Path:
    """The VAE of a tiny pipeline in a file of its own, named as by the training code or by diffusers."""
    weights = _weights(pipeline / "vae")
    return _save(file, _vae(weights) if original else weights)
