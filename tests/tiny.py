"""A tiny Z-Image pipeline with random weights, built offline: 1 second, 2 MB, pictures that are noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import ZImageTransformer2DModel
    from transformers import Qwen3Config

_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_ORIGINAL_NAMES = {
    "all_final_layer.2-1.": "final_layer.",
    "all_x_embedder.2-1.": "x_embedder.",
    "to_out.0.": "out.",
    "norm_k.": "k_norm.",
    "norm_q.": "q_norm.",
}
_SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
#: Of an autoencoder that makes images 8 times smaller on each side.
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 16, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
#: The same as that of Z-Image.
Z_IMAGE_VAE = VAE | dict.fromkeys(("mid_block_add_attention", "use_quant_conv", "use_post_quant_conv"), False)


def z_image_transformer(
    channels: int, *, dim: int, layers: int, heads: int, text_width: int, **others: Any
) -> ZImageTransformer2DModel:
    """With random weights and one layer that refines."""
    import diffusers

    return diffusers.ZImageTransformer2DModel(
        in_channels=channels,
        dim=dim,
        n_layers=layers,
        n_refiner_layers=1,
        n_heads=heads,
        n_kv_heads=heads,
        cap_feat_dim=text_width,
        **others,
    )


def save_z_image(
    folder: Path,
    *,
    seed: int = 0,
    layers: int = 2,
    width: int = 64,
    text_layers: int = 2,
    text_width: int = 32,
) -> Path:
    """Write the pipeline to `folder`; 16-pixel size multiple, 8 latent channels. `width` is one of 32's."""
    import diffusers
    import torch
    from transformers import Qwen3Model

    torch.manual_seed(seed)
    tokenizer = byte_tokenizer()
    encoder = Qwen3Model(qwen3(len(tokenizer), width=text_width, layers=text_layers))
    axes: dict[str, Any] = {"axes_dims": [8, 12, 12], "axes_lens": [1024, 64, 64]}
    transformer = z_image_transformer(
        8, dim=width, layers=layers, heads=width // 32, text_width=text_width, **axes
    )
    vae = diffusers.AutoencoderKL(
        **Z_IMAGE_VAE,
        latent_channels=8,
        scaling_factor=0.36,
        shift_factor=0.1,
    )
    _give_contrast(transformer, vae)
    diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(str(folder))
    return folder


def save_lora(file: Path, model: Path, *, layers: int | None = None, strangers: int = 0) -> Path:
    """A LoRA with random weights for the first `layers` (None: all) attention layers of the model.

    `strangers` of its layers do not exist in the model.
    """
    import torch
    from diffusers import ZImageTransformer2DModel
    from safetensors.torch import save_file

    torch.manual_seed(7)
    transformer = ZImageTransformer2DModel.from_pretrained(str(model), subfolder="transformer")
    names = [name for name, _ in transformer.named_modules() if name.endswith(("to_q", "to_k", "to_v"))]
    width = transformer.config.dim
    chosen = names[:layers] + [f"layers.{90 + place}.attention.to_q" for place in range(strangers)]
    tensors = {}
    for name in chosen:
        tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(2, width) * 0.5
        tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(width, 2) * 0.5
    save_file(tensors, str(file), metadata={"format": "pt"})
    return file


def save_gguf(file: Path, model: Path, *, format_: str = "Q8_0", original_names: bool = False) -> Path:
    """The model's transformer with its matrices in one of GGUF's formats.

    `original_names` are those of the files of Z-Image that people share: query, key and value are one matrix.
    """
    import diffusers

    kind = getattr(diffusers, json.loads((model / "model_index.json").read_text())["transformer"][1])
    weights = dict(kind.from_pretrained(str(model), subfolder="transformer").state_dict())
    if original_names:
        weights = with_original_names(weights)
    return save_as_gguf(file, weights, format_)


def save_as_gguf(file: Path, weights: dict[str, Any], format_: str) -> Path:
    """The tensors, matrices among them in one of GGUF's formats."""
    import gguf

    quantised = gguf.GGMLQuantizationType[format_]
    writer = gguf.GGUFWriter(str(file), "lumina2")
    for name, tensor in weights.items():
        weight = tensor.float().numpy()
        if weight.ndim == 2 and weight.shape[0] > 1 and weight.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(weight, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def with_original_names(weights: dict[str, Any]) -> dict[str, Any]:
    """The transformer's weights as its training code names them: query, key and value are one matrix."""
    import torch

    renamed = {}
    for name, weight in weights.items():
        if name.endswith("to_q.weight"):
            parts = [weights[name.replace("to_q", part)] for part in ("to_q", "to_k", "to_v")]
            renamed[name.replace("to_q", "qkv")] = torch.cat(parts)
        elif not name.endswith(("to_k.weight", "to_v.weight")):
            for ours, theirs in _ORIGINAL_NAMES.items():
                name = name.replace(ours, theirs)
            renamed[name] = weight
    return renamed


def _give_contrast(transformer: Any, vae: Any) -> None:
    """Untrained networks are initialised to answer next to nothing; make pictures depend on their input."""
    import torch

    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5)
        vae.decoder.conv_out.weight.mul_(0.5)


def qwen3(tokens: int, *, width: int, layers: int = 2, heads: int = 2) -> Qwen3Config:
    """A text encoder of so many tokens."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        max_position_embeddings=512,
    )


def byte_tokenizer() -> Any:
    """One token a byte, so that any text has a length that a test can count."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocabulary = {sign: place for place, sign in enumerate(sorted(ByteLevel.alphabet()) + _SPECIAL)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": _SPECIAL[:2]})
    tokenizer.pad_token = _SPECIAL[2]
    tokenizer.chat_template = _CHAT
    return tokenizer
