"""A tiny pipeline of each family, with random weights, built offline."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from tests.tiny import VAE, byte_tokenizer, qwen3, save_z_image

P = ParamSpec("P")
_CLIP_LENGTH = 77
#: Of a transformer of FLUX's kind.
_TRANSFORMER = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
}
#: Of FLUX.1 and Chroma.
_FLUX = {"in_channels": 32, "joint_attention_dim": 24, "axes_dims_rope": (4, 6, 6)}


def _saving(build: Callable[P, Any]) -> Callable[Concatenate[Path, P], Path]:
    """`build` as a function that saves the pipeline to a folder; its weights are the same each time."""

    @wraps(build)
    def save(folder: Path, *args: P.args, **settings: P.kwargs) -> Path:
        import torch

        torch.manual_seed(0)
        build(*args, **settings).save_pretrained(str(folder))
        return folder

    return save


@_saving
def save_sd15(width: int = 32) -> Any:
    import diffusers

    return diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(**VAE, latent_channels=4),
        text_encoder=clip_encoder(width),
        tokenizer=clip_tokenizer(),
        unet=_unet(cross_attention_dim=width),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@_saving
def save_sdxl(widths: tuple[int, int] = (32, 64)) -> Any:
    import diffusers

    projected = 32
    return diffusers.StableDiffusionXLPipeline(
        vae=diffusers.AutoencoderKL(**VAE, latent_channels=4),
        text_encoder=clip_encoder(widths[0]),
        # Of another width, as in SDXL: whoever takes a checkpoint apart tells the encoders by it.
        text_encoder_2=clip_encoder(widths[1], projection=projected),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=_unet(
            cross_attention_dim=sum(widths),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + projected,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
        add_watermarker=False,
    )


@_saving
def save_klein(*, width: int = 16) -> Any:
    """With a text encoder of this width."""
    import diffusers
    from transformers import Qwen3ForCausalLM

    tokenizer = byte_tokenizer()
    # The pipeline reads the layers 9, 18 and 27.
    encoder = Qwen3ForCausalLM(qwen3(len(tokenizer), width=width, layers=28))
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLFlux2(**VAE, latent_channels=4),
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=diffusers.Flux2Transformer2DModel(
            **_TRANSFORMER,
            in_channels=16,
            joint_attention_dim=3 * width,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        is_distilled=True,
    )


@_saving
def save_flux1() -> Any:
    import diffusers

    tokenizer = _t5_tokenizer()
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_flux_vae(),
        text_encoder=clip_encoder(32),
        tokenizer=clip_tokenizer(),
        text_encoder_2=_t5_encoder(len(tokenizer), 24),
        tokenizer_2=tokenizer,
        transformer=diffusers.FluxTransformer2DModel(
            **_TRANSFORMER,
            **_FLUX,
            pooled_projection_dim=32,
            guidance_embeds=True,
        ),
    )


@_saving
def save_chroma() -> Any:
    import diffusers

    tokenizer = _t5_tokenizer()
    return diffusers.ChromaPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flux_vae(),
        text_encoder=_t5_encoder(len(tokenizer), 24),
        tokenizer=tokenizer,
        transformer=diffusers.ChromaTransformer2DModel(
            **_TRANSFORMER,
            **_FLUX,
            approximator_num_channels=8,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
    )


@_saving
def save_qwen_image() -> Any:
    import diffusers
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = byte_tokenizer()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
    )
    channels = 4
    return diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=channels,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.0] * channels,
            latents_std=[1.0] * channels,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        transformer=diffusers.QwenImageTransformer2DModel(
            in_channels=4 * channels,
            out_channels=channels,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 6, 6),
        ),
    )


#: By family of the catalog: whoever adds a family adds its twin, and the tests try it.
TWINS: dict[str, Callable[[Path], Path]] = {
    "z-image": save_z_image,
    "flux1": save_flux1,
    "chroma": save_chroma,
    "flux2-klein": save_klein,
    "qwen-image": save_qwen_image,
    "sdxl": save_sdxl,
    "sd15": save_sd15,
}


def _flux_vae() -> Any:
    import diffusers

    return diffusers.AutoencoderKL(**VAE, latent_channels=8, shift_factor=0.1, use_quant_conv=False)


def _t5_encoder(tokens: int, width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=tokens,
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def _t5_tokenizer() -> Any:
    """Every printable sign of ASCII is a token, whatever else an unknown one."""
    from transformers import T5Tokenizer

    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    signs = [(chr(code), -3.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=specials + signs, extra_ids=0, model_max_length=512)


def _unet(**settings: Any) -> Any:
    import diffusers

    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=8,
        **settings,
    )


def clip_encoder(width: int, projection: int | None = None) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=_CLIP_LENGTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        projection_dim=projection or width,
    )
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def clip_tokenizer() -> Any:
    """Every byte is a token, at the end of a word another one."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    signs = sorted(ByteLevel.alphabet())
    words = ["<|startoftext|>", "<|endoftext|>", *signs, *(f"{sign}</w>" for sign in signs)]
    vocabulary = {word: place for place, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=_CLIP_LENGTH)
