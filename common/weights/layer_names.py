"""Names of layers: those of the training code as those that diffusers gives them, with `_` for each dot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

#: Layers in the training code of FLUX.2 to those of diffusers; `#` is the number of the block.
_FLUX2_BLOCKS = {
    "double_blocks_#_img_attn_proj": "transformer_blocks_#_attn_to_out_0",
    "double_blocks_#_txt_attn_proj": "transformer_blocks_#_attn_to_add_out",
    "double_blocks_#_img_mlp_0": "transformer_blocks_#_ff_linear_in",
    "double_blocks_#_img_mlp_2": "transformer_blocks_#_ff_linear_out",
    "double_blocks_#_txt_mlp_0": "transformer_blocks_#_ff_context_linear_in",
    "double_blocks_#_txt_mlp_2": "transformer_blocks_#_ff_context_linear_out",
    "single_blocks_#_linear1": "single_transformer_blocks_#_attn_to_qkv_mlp_proj",
    "single_blocks_#_linear2": "single_transformer_blocks_#_attn_to_out",
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in_in_layer": "time_guidance_embed_timestep_embedder_linear_1",
    "time_in_out_layer": "time_guidance_embed_timestep_embedder_linear_2",
    "final_layer_linear": "proj_out",
    "final_layer_adaLN_modulation_1": "norm_out_linear",
    "single_stream_modulation_lin": "single_stream_modulation_linear",
    "double_stream_modulation_img_lin": "double_stream_modulation_img_linear",
    "double_stream_modulation_txt_lin": "double_stream_modulation_txt_linear",
}
#: The same of FLUX.1 and Chroma. The last layer's modulation is left out: diffusers has its halves in another
#: order.
_FLUX1_BLOCKS = {
    "double_blocks_#_img_attn_proj": "transformer_blocks_#_attn_to_out_0",
    "double_blocks_#_txt_attn_proj": "transformer_blocks_#_attn_to_add_out",
    "double_blocks_#_img_mlp_0": "transformer_blocks_#_ff_net_0_proj",
    "double_blocks_#_img_mlp_2": "transformer_blocks_#_ff_net_2",
    "double_blocks_#_txt_mlp_0": "transformer_blocks_#_ff_context_net_0_proj",
    "double_blocks_#_txt_mlp_2": "transformer_blocks_#_ff_context_net_2",
    "double_blocks_#_img_mod_lin": "transformer_blocks_#_norm1_linear",
    "double_blocks_#_txt_mod_lin": "transformer_blocks_#_norm1_context_linear",
    "single_blocks_#_linear2": "single_transformer_blocks_#_proj_out",
    "single_blocks_#_modulation_lin": "single_transformer_blocks_#_norm_linear",
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "final_layer_linear": "proj_out",
}
_FLUX1_SINGLE = ("attn_to_q", "attn_to_k", "attn_to_v", "proj_mlp")
_FLUX_QKV = {"img": ("to_q", "to_k", "to_v"), "txt": ("add_q_proj", "add_k_proj", "add_v_proj")}
_Z_IMAGE_ALONE = {
    "x_embedder": "all_x_embedder_2-1",
    "final_layer_linear": "all_final_layer_2-1_linear",
    "final_layer_adaLN_modulation_1": "all_final_layer_2-1_adaLN_modulation_1",
}
_UNET_ALONE = {
    "input_blocks_0_0": "conv_in",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
}
_UNET_RESNET = {
    "in_layers_2": "conv1",
    "out_layers_3": "conv2",
    "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
_UNET_MIDDLE = ("resnets_0", "attentions_0", "resnets_1")
_OPEN_CLIP = {
    "attn_out_proj": "self_attn_out_proj",
    "mlp_c_fc": "mlp_fc1",
    "mlp_c_proj": "mlp_fc2",
}

#: Name of a layer and the resnets of a U-Net's block, to the names in diffusers: three where query, key and
#: value are one layer.
Rename = Callable[[str, int], tuple[str, ...]]


def flat(name: str) -> str:
    return name.replace(".", "_")


def z_image_lora_names(name: str, per_block: int = 0) -> tuple[str, ...]:
    """Of the layers that trainers change; diffusers knows others in LoRAs by its own names only."""
    if name.endswith("attention_qkv"):
        return tuple(f"{name.removesuffix('qkv')}to_{part}" for part in "qkv")
    return (f"{name.removesuffix('out')}to_out_0" if name.endswith("attention_out") else name,)


def z_image_names(name: str, per_block: int = 0) -> tuple[str, ...]:
    return (_Z_IMAGE_ALONE[name],) if name in _Z_IMAGE_ALONE else z_image_lora_names(name)


def flux1_names(name: str, per_block: int = 0) -> tuple[str, ...]:
    if found := re.fullmatch(r"single_blocks_(\d+)_linear1", name):
        return tuple(f"single_transformer_blocks_{found[1]}_{part}" for part in _FLUX1_SINGLE)
    return _flux_names(name, _FLUX1_BLOCKS)


def flux2_names(name: str, per_block: int = 0) -> tuple[str, ...]:
    return _flux_names(name, _FLUX2_BLOCKS)


def _flux_names(name: str, blocks: Mapping[str, str]) -> tuple[str, ...]:
    if found := re.fullmatch(r"double_blocks_(\d+)_(img|txt)_attn_qkv", name):
        return tuple(f"transformer_blocks_{found[1]}_attn_{part}" for part in _FLUX_QKV[found[2]])
    found = re.search(r"blocks_(\d+)_", name)
    general = re.sub(r"blocks_\d+_", "blocks_#_", name)
    known = blocks.get(general)
    return (known.replace("#", found[1]) if known and found else known or name,)


def unet_names(name: str, per_block: int) -> tuple[str, ...]:
    """Blocks of the training code are numbered through, and end with what changes the size."""
    if name in _UNET_ALONE:
        return (_UNET_ALONE[name],)
    if found := re.fullmatch(r"middle_block_([0-2])_(.+)", name):
        return (f"mid_block_{_UNET_MIDDLE[int(found[1])]}_{_UNET_RESNET.get(found[2], found[2])}",)
    found = re.fullmatch(r"(input|output)_blocks_(\d+)_([0-2])_(.+)", name)
    if found is None:
        return (name,)
    place = int(found[2]) - (found[1] == "input")
    block, layer = divmod(place, per_block + 1)
    side = "down" if found[1] == "input" else "up"
    if found[4] == "op" or (side == "up" and found[4] == "conv"):
        return (f"{side}_blocks_{block}_{side}samplers_0_conv",)
    kind = "attentions" if found[3] == "1" else "resnets"
    return (f"{side}_blocks_{block}_{kind}_{layer}_{_UNET_RESNET.get(found[4], found[4])}",)


def text_encoder_names(name: str, per_block: int = 0) -> tuple[str, ...]:
    """Of CLIP, as transformers and OpenCLIP name its layers."""
    name = name.removeprefix("text_model_")
    found = re.fullmatch(r"(?:model_)?transformer_resblocks_(\d+)_(.+)", name)
    if found is None:
        return (name,)
    start = f"encoder_layers_{found[1]}_"
    if found[2] == "attn_in_proj":
        return tuple(f"{start}self_attn_{part}_proj" for part in "qkv")
    return (start + _OPEN_CLIP.get(found[2], found[2]),)


def same_name(name: str, per_block: int = 0) -> tuple[str, ...]:
    return (name,)
